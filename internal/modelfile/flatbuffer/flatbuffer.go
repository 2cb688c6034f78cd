// Package flatbuffer reads tables of FlatBuffers without their schema: by the numbers of their
// fields.
package flatbuffer

import (
	"encoding/binary"
	"math"
)

// A Table is one of a file of FlatBuffers (https://flatbuffers.dev/internals): where it begins.
// The fields of a table are numbered in the order of its schema. What a damaged file says of
// places outside of it is as if it were not there.
type Table struct {
	data []byte
	at   int
}

// Root returns the first table of a file.
func Root(data []byte) Table { return Table{data, 0}.follow(0) }

// u32 returns the number at a place, 0 where there is none.
func (t Table) u32(at int) uint32 {
	if at < 0 || at+4 > len(t.data) {
		return 0
	}
	return binary.LittleEndian.Uint32(t.data[at:])
}

// follow returns the table that an offset at a place leads to.
func (t Table) follow(at int) Table {
	offset := int(t.u32(at))
	if offset <= 0 || at+offset+4 > len(t.data) {
		return Table{}
	}
	return Table{t.data, at + offset}
}

// field returns where a field is, or -1.
func (t Table) field(n int) int {
	vtable := t.at - int(int32(t.u32(t.at)))
	if len(t.data) == 0 || vtable < 0 || vtable+4 > len(t.data) {
		return -1
	}
	size, entry := int(binary.LittleEndian.Uint16(t.data[vtable:])), 4+2*n
	if entry+2 > size || vtable+entry+2 > len(t.data) {
		return -1
	}
	offset := int(binary.LittleEndian.Uint16(t.data[vtable+entry:]))
	if offset == 0 || t.at+offset >= len(t.data) {
		return -1
	}
	return t.at + offset
}

// Byte returns a field of one byte, and 0 where it is missing.
func (t Table) Byte(n int) int {
	if at := t.field(n); at >= 0 {
		return int(t.data[at])
	}
	return 0
}

// Uint32 returns a field of four bytes, and 0 where it is missing.
func (t Table) Uint32(n int) int { return int(t.u32(t.field(n))) }

// Table returns a field that is one.
func (t Table) Table(n int) Table {
	if at := t.field(n); at >= 0 {
		return t.follow(at)
	}
	return Table{}
}

// vector returns where the elements of a field begin, and how many there are of size bytes.
func (t Table) vector(n, size int) (at, count int) {
	v := t.Table(n)
	count = int(v.u32(v.at))
	if len(v.data) == 0 || count > (len(v.data)-v.at-4)/size {
		return 0, 0
	}
	return v.at + 4, count
}

// Tables returns a field's tables.
func (t Table) Tables(n int) []Table {
	at, count := t.vector(n, 4)
	all := make([]Table, count)
	for i := range all {
		all[i] = t.follow(at + 4*i)
	}
	return all
}

// Bytes returns a field's bytes; of a text, too.
func (t Table) Bytes(n int) []byte {
	at, count := t.vector(n, 1)
	return t.data[at : at+count]
}

// Ints returns a field's numbers of four bytes.
func (t Table) Ints(n int) []int {
	at, count := t.vector(n, 4)
	all := make([]int, count)
	for i := range all {
		all[i] = int(int32(t.u32(at + 4*i)))
	}
	return all
}

// Floats returns a field's floats.
func (t Table) Floats(n int) []float64 {
	at, count := t.vector(n, 4)
	all := make([]float64, count)
	for i := range all {
		all[i] = float64(math.Float32frombits(t.u32(at + 4*i)))
	}
	return all
}

// Int64s returns a field's numbers of eight bytes.
func (t Table) Int64s(n int) []int64 {
	at, count := t.vector(n, 8)
	all := make([]int64, count)
	for i := range all {
		all[i] = int64(binary.LittleEndian.Uint64(t.data[at+8*i:]))
	}
	return all
}
