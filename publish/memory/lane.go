package memory

import (
	"hash/crc32"
	"strings"
)

// A lane is where in the file of the readers the tensors of one subject in one file of a feeder
// stand, one byte each, in the order in which they were published. The bytes are not there: they
// are numbers for locks, which need none.
//
// Subjects that have the same hashes share a lane. What is received of the one counts as received
// of the other, too, which matters only for what a reader receives at that instant.
type lane int64

// The bits of a place in the file of the readers, from the highest on: the hash of the subject's
// last token, which is the output's name as a rule, the hash of the subject, the number of the
// feeder's file, and that of the tensor.
const (
	lastBits, subjectBits, numberBits, sequenceBits = 6, 18, 8, 30

	// maxSequence is the number of the last tensor of a lane that readers can tell apart. Those
	// that follow stay for the grace: it takes a year and a half at 20 a second.
	maxSequence = 1<<sequenceBits - 1
)

// lanesOf returns where the lanes begin of all subjects that a pattern, which may have wildcards,
// can stand for, and how long they are, whatever the file. It may return more than needed.
func lanesOf(pattern string) (from, n int64) {
	const all = lastBits + subjectBits + numberBits + sequenceBits
	last := pattern[strings.LastIndexByte(pattern, '.')+1:]
	if strings.ContainsAny(last, "*>") {
		return 0, 1 << all
	}
	from, n = hash(last, lastBits)<<(all-lastBits), 1<<(all-lastBits)
	if strings.ContainsAny(pattern, "*>") {
		return from, n
	}
	const one = numberBits + sequenceBits
	return from + hash(pattern, subjectBits)<<one, 1 << one
}

// laneOf returns the lane of a subject in the file with a number.
func laneOf(subject string, number uint64) lane {
	from, _ := lanesOf(subject)
	return lane(from + int64(number%(1<<numberBits))<<sequenceBits)
}

func (l lane) at(sequence uint64) int64 { return int64(l) + int64(sequence) }

func hash(s string, bits uint) int64 {
	return int64(crc32.ChecksumIEEE([]byte(s)) % (1 << bits))
}
