package publish

import (
	"fmt"
	"maps"
	"strconv"
)

const (
	// maxParts is the largest number of parts that a tensor can be split into.
	maxParts = 1 << 16
	// minPart is the room in bytes that a part must have for its payload. With less, the
	// parts would be mostly headers.
	minPart = 1 << 10
)

// Split returns the messages that carry m to a server which accepts at most limit
// bytes, as counted by [Size]: m alone if it fits, and parts for a [Joiner] otherwise.
//
// Parts have all headers of m, and [HeaderChunk]. Their identity is m's, followed by the
// number of the part and of all parts: the broker must not take a part for one that was
// cut for another limit. Their payloads are consecutive ranges of m's own memory, all
// but the last of the same size.
//
// The same m and limit always give the same parts, at most 65536. The error says that
// the limit is too small even for parts. It wraps a [*SizeError] whose Size would be
// enough.
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
	for most := 9; most < 10*maxParts; most = 10*most + 9 { // 9, 99, 999: the size of the headers depends on the digits
		header = HeaderSize(partHeader(m.Header, most, most))
		room := limit - header
		if room < minPart {
			break
		}
		if n := (len(m.Data) + room - 1) / room; n <= min(most, maxParts) {
			return n, nil
		}
	}
	need := header + max(minPart, len(m.Data)/maxParts+1)
	return 0, fmt.Errorf("not even in parts: %w", &SizeError{Size: need, Limit: limit})
}

// partOf returns the value of [HeaderChunk] for part i of n.
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
