package payloads

import (
	"bytes"
	"io"
	"strconv"
	"sync/atomic"
)

const (
	crlf    = "\r\n"
	version = "NATS/1.0\r\n" // the first line of headers without a status
	dtype   = "\r\nCvf-Dtype:"
)

// A Reader reads what a NATS server sends, and leaves out large payloads. It is for one
// goroutine that reads, and one that writes.
type Reader struct {
	conn  io.Reader
	store *Store
	buf   []byte
	have  []byte // the part of buf that was not read yet
	pass  int    // how many bytes to hand on as they are, of have and after it
	out   []byte // what to hand on before them

	wrote bool        // whether Wrote was called
	raw   atomic.Bool // all is handed on as it is
}

// NewReader returns a reader of a new connection.
func NewReader(conn io.Reader, store *Store) *Reader {
	return &Reader{conn: conn, store: store, buf: make([]byte, 64<<10)}
}

// Wrote has to be called with what is written to the connection, before it is. If that does
// not begin as NATS's protocol does, it is TLS or a WebSocket, and all is handed on as it is.
func (r *Reader) Wrote(p []byte) {
	if !r.wrote {
		r.wrote = true
		r.raw.Store(!bytes.HasPrefix(p, []byte("CONNECT ")))
	}
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	for {
		switch {
		case len(r.out) > 0:
			n := copy(p, r.out)
			r.out = r.out[n:]
			return n, nil
		case r.raw.Load():
			r.pass = len(p)
		}
		switch {
		case r.pass > 0 && len(r.have) > 0:
			n := copy(p, r.have[:min(len(r.have), r.pass)])
			r.have, r.pass = r.have[n:], r.pass-n
			return n, nil
		case r.pass > 0:
			n, err := r.conn.Read(p[:min(len(p), r.pass)])
			r.pass -= n
			return n, err
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
}

// next finds out what to hand on next. It reads a whole line at least.
func (r *Reader) next() error {
	line, err := r.line()
	if err != nil {
		return err
	}
	for line != nil {
		m, ok := parse(line)
		if !ok {
			r.raw.Store(true) // nats.go will complain
			return nil
		}
		if m.size() < large || m.size() > largest {
			r.pass += len(line) + m.rest()
		} else if r.pass > 0 {
			return nil // what comes before it goes first
		} else {
			return r.large(len(line), m)
		}
		line = nil
		if r.pass < len(r.have) {
			line = firstLine(r.have[r.pass:])
		}
	}
	return nil
}

// line returns the first line that was not handed on. It is nil if the line is longer than
// any; then all is handed on as it is.
func (r *Reader) line() ([]byte, error) {
	for {
		if line := firstLine(r.have); line != nil {
			return line, nil
		}
		if len(r.have) == len(r.buf) {
			r.raw.Store(true)
			return nil, nil
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// fill reads more, for which there has to be room.
func (r *Reader) fill() error {
	n := copy(r.buf, r.have)
	more, err := r.conn.Read(r.buf[n:])
	r.have = r.buf[:n+more]
	if more > 0 {
		return nil // the error comes again
	}
	return err
}

// large receives the payload of a message, if it is a tensor, and prepares the message
// without it. Its first line is at the beginning of have.
func (r *Reader) large(line int, m message) error {
	begin := line + m.header
	for begin < len(r.buf) && len(r.have) < begin {
		if err := r.fill(); err != nil {
			return err
		}
	}
	if len(r.have) < begin || !isTensor(r.have[line:begin]) {
		r.pass = line + m.rest()
		return nil
	}
	memory := r.store.memory(m.size() + len(crlf))
	if memory == nil {
		r.pass = line + m.rest()
		return nil
	}
	head := bytes.Clone(r.have[:begin])
	n := copy(memory, r.have[begin:])
	r.have = r.have[begin+n:]
	if _, err := io.ReadFull(r.conn, memory[n:]); err != nil {
		return err
	}
	r.hand(bytes.Fields(head[:line]), head[line:], memory[:m.size()])
	return nil
}

// hand hands on a message of the given control line and header, past nats.go if possible.
func (r *Reader) hand(control [][]byte, block, data []byte) {
	sid := string(control[2])
	if r.store.taken(sid, string(control[1]), block, data) {
		return
	}
	block = block[:len(block)-len(crlf)]
	name := header + ": " + r.store.put(sid, data) + crlf + crlf
	length := strconv.Itoa(len(block) + len(name))
	r.out = bytes.Join(control[:len(control)-2], []byte(" "))
	r.out = append(r.out, " "+length+" "+length+crlf...)
	r.out = append(append(r.out, block...), name+crlf...)
}

func isTensor(block []byte) bool {
	return bytes.HasPrefix(block, []byte(version)) && bytes.HasSuffix(block, []byte(crlf+crlf)) && bytes.Contains(block, []byte(dtype))
}

// A message is what the first line of one says.
type message struct {
	carries       bool // whether there is more than the line
	header, total int  // bytes; total has those of the header, too
}

// size returns the bytes of the payload of a message with headers; there is 0 otherwise.
func (m message) size() int {
	if m.header == 0 {
		return 0
	}
	return m.total - m.header
}

// rest returns how many bytes follow the line.
func (m message) rest() int {
	if !m.carries {
		return 0
	}
	return m.total + len(crlf)
}

// parse reads a line that a server sends.
func parse(line []byte) (message, bool) {
	words := bytes.Fields(line)
	if len(words) == 0 {
		return message{}, false
	}
	var m message
	var err error
	switch string(words[0]) {
	case "HMSG":
		if len(words) != 5 && len(words) != 6 {
			return message{}, false
		}
		if m.header, err = strconv.Atoi(string(words[len(words)-2])); err != nil || m.header <= 0 {
			return message{}, false
		}
	case "MSG":
		if len(words) != 4 && len(words) != 5 {
			return message{}, false
		}
	default:
		return message{}, true
	}
	m.carries = true
	m.total, err = strconv.Atoi(string(words[len(words)-1]))
	return m, err == nil && m.total >= m.header
}

// firstLine returns the first whole line, with its end, or nil.
func firstLine(b []byte) []byte {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil
	}
	return b[:i+1]
}
