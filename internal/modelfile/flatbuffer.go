package modelfile

import (
	"encoding/binary"
	"math"
)

// A table is one of a file of FlatBuffers (https://flatbuffers.dev/internals): where it begins.
// The fields of a table are numbered in the order of its schema. What a damaged file says of
// places outside of it is as if it were not there.
type table struct {
	data []byte
	at   int
}

// root returns the first table of a file.
func root(data []byte) table { return table{data, 0}.follow(0) }

// u32 returns the number at a place, 0 where there is none.
func (t table) u32(at int) uint32 {
	if at < 0 || at+4 > len(t.data) {
		return 0
	}
	return binary.LittleEndian.Uint32(t.data[at:])
}

// follow returns the table that an offset at a place leads to.
func (t table) follow(at int) table {
	offset := int(t.u32(at))
	if offset <= 0 || at+offset+4 > len(t.data) {
		return table{}
	}
	return table{t.data, at + offset}
}

// field returns where a field is, or -1.
func (t table) field(n int) int {
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

// number returns a field of one byte, and whole one of four.
func (t table) number(n int) int {
	if at := t.field(n); at >= 0 {
		return int(t.data[at])
	}
	return 0
}

func (t table) whole(n int) int { return int(t.u32(t.field(n))) }

// table returns a field that is one.
func (t table) table(n int) table {
	if at := t.field(n); at >= 0 {
		return t.follow(at)
	}
	return table{}
}

// vector returns where the elements of a field begin, and how many there are of size bytes.
func (t table) vector(n, size int) (at, count int) {
	v := t.table(n)
	count = int(v.u32(v.at))
	if len(v.data) == 0 || count > (len(v.data)-v.at-4)/size {
		return 0, 0
	}
	return v.at + 4, count
}

// tables returns a field's tables.
func (t table) tables(n int) []table {
	at, count := t.vector(n, 4)
	all := make([]table, count)
	for i := range all {
		all[i] = t.follow(at + 4*i)
	}
	return all
}

// bytes returns a field's bytes; of a text, too.
func (t table) bytes(n int) []byte {
	at, count := t.vector(n, 1)
	return t.data[at : at+count]
}

// ints returns a field's numbers of four bytes.
func (t table) ints(n int) []int {
	at, count := t.vector(n, 4)
	all := make([]int, count)
	for i := range all {
		all[i] = int(int32(t.u32(at + 4*i)))
	}
	return all
}

// floats returns a field's floats.
func (t table) floats(n int) []float64 {
	at, count := t.vector(n, 4)
	all := make([]float64, count)
	for i := range all {
		all[i] = float64(math.Float32frombits(t.u32(at + 4*i)))
	}
	return all
}
