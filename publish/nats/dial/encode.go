package dial

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cvfeeder/cvfeeder/publish"
)

// isValid tells whether the client (nats.go v1.55, Conn.PublishMsg) accepts a message
// for a server with this max_payload. For other messages the client has an error.
func isValid(m publish.Message, reply string, maxPayload int) bool {
	for name := range m.Header {
		if !isHeaderName(name) {
			return false
		}
	}
	return isSubject(m.Subject) && (reply == "" || isSubject(reply)) && publish.Size(m) <= maxPayload
}

func isSubject(s string) bool { return s != "" && !strings.ContainsAny(s, " \t\r\n") }

func isHeaderName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("\"()/,:;<=>?@[\\]{}", r)
	})
}

// encode returns the bytes that precede the data of a valid message. They are those of
// the client (nats.go v1.55, Conn.publish), except that the headers are sorted, while
// the client's are in random order.
func encode(m publish.Message, reply string) []byte {
	header := publish.HeaderSize(m.Header)
	b := make([]byte, 0, len("HPUB    \r\n")+len(m.Subject)+len(reply)+2*len("67108864")+header)
	if header > 0 {
		b = append(b, 'H')
	}
	b = append(b, "PUB "...)
	b = append(b, m.Subject...)
	b = append(b, ' ')
	if reply != "" {
		b = append(b, reply...)
		b = append(b, ' ')
	}
	if header > 0 {
		b = strconv.AppendInt(b, int64(header), 10)
		b = append(b, ' ')
	}
	b = strconv.AppendInt(b, int64(header+len(m.Data)), 10)
	b = append(b, "\r\n"...)
	if header > 0 {
		b = appendHeader(b, m.Header)
	}
	return b
}

// appendHeader appends a header block: see [publish.HeaderSize].
func appendHeader(b []byte, h map[string][]string) []byte {
	b = append(b, "NATS/1.0\r\n"...)
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			b = append(b, name...)
			b = append(b, ": "...)
			value := len(b)
			b = append(b, strings.Trim(v, " \t\r\n")...)
			for i, c := range b[value:] {
				if c == '\r' || c == '\n' {
					b[value+i] = ' '
				}
			}
			b = append(b, "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}
