package publish

import (
	"maps"
	"strings"
)

// MemorySubject returns the subject of tensors that lie in memory which is shared on the given
// host: cvf.m.<host>.<subject>, for the subject, or the pattern, on which they are published
// otherwise.
func MemorySubject(host, subject string) string { return MemoryPrefix + host + "." + subject }

// InMemory returns the message that says at which place of a host m's data lies, instead of the
// data.
func InMemory(m Message, host, place string) Message {
	where := m
	where.Subject = MemorySubject(host, m.Subject)
	where.Header = maps.Clone(m.Header)
	where.Header[HeaderMemory] = []string{place}
	where.Data, where.Share = nil, nil
	return where
}

// FromMemory returns the message that [InMemory] was made of, without its data, and false if m
// is another message. Memory is as the sender says: publish/memory has what checks it.
func FromMemory(m Message) (Message, bool) {
	_, subject, _ := strings.Cut(strings.TrimPrefix(m.Subject, MemoryPrefix), ".")
	place := m.Header[HeaderMemory]
	if !strings.HasPrefix(m.Subject, MemoryPrefix) || subject == "" || len(place) != 1 || len(m.Data) > 0 {
		return Message{}, false
	}
	m.Subject, m.Memory = subject, place[0]
	m.Header = maps.Clone(m.Header)
	delete(m.Header, HeaderMemory)
	return m, true
}
