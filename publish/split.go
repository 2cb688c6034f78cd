package publish

import (
	"fmt"
	"maps"
	"strconv"
)

const (
	// MaxParts is how many parts a tensor can be split into.
	MaxParts = 1 << 16
	// minPart is the smallest payload in bytes that a part is worth its headers
	// for.
	minPart = 1 << 10
)

// Split returns the messages that carry m where the server takes none larger than
// limit bytes, as counted by [Size]: m alone where it fits, and otherwise parts
// for a [Joiner]. The parts have all headers of m, the header [HeaderChunk] and an
// identity that is m's with the part's number and how many there are behind it, so
// that a broker tells parts apart that were cut for another limit. Their payloads are
// consecutive ranges of m's own memory, all but the last of the same size.
//
// The same m and limit always give the same parts. The error wraps a [*SizeError]
// and says that limit is too small even for parts.
func Split(m Message, limit int) ([]Message, error) {
	if Size(m) <= limit {
		return []Message{m}, nil
	}
	n, err := countParts(m, limit)
	if err != nil {
		return nil, err
	}
	size := (len(m.Data) + n - 1) / n
	parts := make([]Message, n)
	for i := range parts {
		start, end := i*size, min((i+1)*size, len(m.Data))
		parts[i] = m
		parts[i].Header, parts[i].Data = partHeader(m.Header, i+1, n), m.Data[start:end:end]
	}
	return parts, nil
}

// countParts returns the smallest number of parts that keeps each within limit.
func countParts(m Message, limit int) (int, error) {
	var header int
	for most := 9; most < 10*MaxParts; most = 10*most + 9 { // the largest number of so many digits
		header = HeaderSize(partHeader(m.Header, most, most))
		room := limit - header
		if room < minPart {
			break
		}
		if n := (len(m.Data) + room - 1) / room; n <= min(most, MaxParts) {
			return n, nil
		}
	}
	need := header + max(minPart, len(m.Data)/MaxParts+1)
	return 0, fmt.Errorf("not even in parts: %w", &SizeError{Size: need, Limit: limit})
}

// partOf is the place of a part as the headers have it.
func partOf(i, n int) string { return strconv.Itoa(i) + "/" + strconv.Itoa(n) }

func partHeader(h map[string][]string, i, n int) map[string][]string {
	part := maps.Clone(h)
	if part == nil {
		part = make(map[string][]string, 1)
	}
	place := partOf(i, n)
	part[HeaderChunk] = []string{place}
	if id := h[HeaderMsgID]; len(id) == 1 {
		part[HeaderMsgID] = []string{id[0] + "/" + place}
	}
	return part
}
