package publish

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxMsgID is the length in bytes of the longest identity that is accepted of a part:
// four names of maxText bytes, which escaping makes three times as long.
const maxMsgID = 12 * maxText

// A part is one part of a tensor, as its message describes it.
type part struct {
	subject      string
	header       map[string][]string // of the whole tensor
	sum          [sha256.Size]byte   // of header
	index, parts int
	size         int // of every part but the last, in bytes
	total        int64
}

// parsePart checks that m can be a part of the tensor that its headers describe.
func parsePart(m Message) (part, error) {
	envelope, err := ParseEnvelope(m.Header)
	if err != nil {
		return part{}, err
	}
	f := fields{header: m.Header}
	i, n := f.chunk()
	if id := m.Header[HeaderMsgID]; len(id) > 1 || len(id) == 1 && len(id[0]) > maxMsgID {
		f.fail(HeaderMsgID, "is not a single identity of at most %d bytes", maxMsgID)
	}
	if f.err != nil {
		return part{}, f.err
	}
	p := part{subject: m.Subject, index: i - 1, parts: n, total: envelope.Bytes()}
	length := int64(len(m.Data))
	size := length
	if i == n {
		size = (p.total - length) / int64(n-1)
	}
	last := p.total - size*int64(n-1)
	if size < 1 || last < 1 || last > size || i == n && last != length {
		return part{}, fmt.Errorf("header %s: part %d of %d with %d bytes does not fit a tensor of %d bytes", HeaderChunk, i, n, length, p.total)
	}
	p.size = int(size)
	p.header, p.sum = wholeHeader(m.Header, i, n)
	return p, nil
}

// wholeHeader undoes partHeader. It leaves out headers that are not of the format, such
// as those of JetStream, which differ between parts. The sum identifies the tensor: it
// covers all headers, so that parts of two attempts at one slot are joined only if both
// describe the same pixels. It does not cover the trace and the quality, which differ between
// attempts.
func wholeHeader(h map[string][]string, i, n int) (map[string][]string, [sha256.Size]byte) {
	whole := make(map[string][]string, len(h))
	var text []byte
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if len(h[name]) == 0 || !ofTensor(name) {
			continue
		}
		value := h[name][0]
		if name == HeaderMsgID {
			value = strings.TrimSuffix(value, "/"+partOf(i, n))
		}
		whole[name] = []string{value}
		if name == HeaderQuality {
			continue // another replica has looked at other pictures
		}
		text = append(strconv.AppendQuote(append(text, name...), value), '\n')
	}
	if t := traceparent(h); t != "" {
		whole[HeaderTraceparent] = []string{t}
	}
	return whole, sha256.Sum256(text)
}

// ofTensor tells whether a header of a part is one of the whole tensor: all of the format are, also
// those of a later version, but the number of the part and what belongs to a message of a range.
func ofTensor(name string) bool {
	ours := strings.HasPrefix(name, "Cvf-") || name == HeaderType || name == HeaderLength || name == HeaderMsgID
	return ours && name != HeaderChunk && !strings.HasPrefix(name, HeaderRange)
}
