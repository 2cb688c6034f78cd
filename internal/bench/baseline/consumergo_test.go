package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// consumeGo is what a consumer in Go is: it reads a subject and prints what a message of
// each batch has cost, in one of two ways, as consumer.py does.
func consumeGo(args []string) error {
	way, url, subject := args[0], args[1], args[2]
	size, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	r := report{batch: size}
	if way == "go-socket" {
		return readSocket(strings.TrimPrefix(url, "nats://"), subject, r.count)
	}
	sub, err := consume.Subscribe(dial.Options{URL: url}, subject)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := sub.WaitConnected(context.Background()); err != nil {
		return err
	}
	fmt.Println("ready")
	for d, err := range sub.Tensors(context.Background()) {
		if err != nil {
			return err
		}
		if values, err := d.Float32s(); err != nil || len(values) != 3*640*640 {
			return errors.Join(err, errors.New("another tensor than was published"))
		}
		d.Release()
		r.count()
	}
	return nil
}

// A report counts messages and prints what those of each batch have cost.
type report struct {
	batch, n int
	begin    time.Duration
}

func (r *report) count() {
	if r.n++; r.n%r.batch != 0 {
		return
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return // never
	}
	now := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	fmt.Println((now - r.begin).Seconds() * 1e3 / float64(r.batch))
	r.begin = now
}

// readSocket reads the bytes of each message into the same memory, and does nothing with
// them.
func readSocket(address, subject string, count func()) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"headers\":true,\"protocol\":1}\r\nSUB %s 1\r\nPING\r\n", subject); err != nil {
		return err
	}
	line := []byte{}
	for string(line) != "PING\r\n" { // a second after the connection was made
		if line, err = readLine(conn); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(conn, "PONG\r\n"); err != nil {
		return err
	}
	fmt.Println("ready")
	if line, err = readLine(conn); err != nil {
		return err
	}
	words := bytes.Fields(line)
	size, err := strconv.Atoi(string(words[len(words)-1]))
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, conn, int64(size+len("\r\n"))); err != nil {
		return err
	}
	count()
	// All messages have the same length, so only the first one is looked at.
	for memory := make([]byte, len(line)+size+len("\r\n")); ; count() {
		if _, err := io.ReadFull(conn, memory); err != nil {
			return err
		}
	}
}

// readLine reads a line and nothing after it.
func readLine(r io.Reader) ([]byte, error) {
	var line []byte
	for b := make([]byte, 1); b[0] != '\n'; {
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		line = append(line, b[0])
	}
	return line, nil
}
