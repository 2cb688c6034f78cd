// Package memory hands tensors over in memory that the processes of one host share, so
// that no byte of them goes through a socket.
//
// A feeder opens a [Ring]: a file in a directory of a memory file system, cut into slots
// of one size. It makes each tensor in a slot, and publishes where it is, a [Place]. A
// consumer opens the same directory with a [Reader], and holds the slot while it reads:
//
//	reader := memory.NewReader("/dev/shm/cvfeeder")
//	hold, err := reader.Hold(place)
//	if err != nil {
//		return err // errors.Is(err, memory.ErrOverwritten): it came too late
//	}
//	defer hold.Release()
//	use(hold.Data)
//
// To hold a slot is to have a read lock on its header, an open-file-description lock, which
// the kernel takes away when the process dies. The feeder needs the write lock to reuse a
// slot, so it never writes to one that somebody reads; it takes another, in the order in which the
// tensors were made. Each use of a slot has a generation, which is in its header and in the Place:
// that is how a reader notices that it came too late.
//
// A message that is under way to a reader holds nothing yet. So a reader says what it still
// expects, before it subscribes, by [Reader.Await]: by locks again, which can only keep the feeder
// from using a slot, so a reader that errs or lies harms no other. A slot that somebody expects
// keeps its tensor for a second (Options.Grace), and one that nobody expects or holds is free.
//
// # What can go wrong
//
// Everything that a Place says is compared with the mapped file, and the file with its
// length, before any byte is read. The file is as long from the beginning to the end, all
// of its memory is allocated at the start, and only the user of the feeder may write to it.
// So nobody else can make a reader fail with SIGBUS. Whoever runs as that user, or as root,
// can truncate the file in the moment between that comparison and the reading.
//
// A feeder that ends removes its file, and one that starts removes those of feeders that
// have died. Readers keep what they have mapped.
//
// A feeder looks once a second whether readers still find its file: see [Keeper]. The package is
// larger than most packages because it has both ends of the memory, which agree on each byte.
//
// It works on Linux only: elsewhere, [Open] returns [ErrUnsupported], and there is nothing to
// read. Of all this, importers can rely on [Reader], [Place], their methods and the errors.
package memory

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// DefaultGrace is for how long a published tensor stays in memory for a reader that has not
// received it yet: one that the machine keeps waiting is rarely later. What finds no memory
// meanwhile is published as payload.
const DefaultGrace = time.Second

// DefaultDir is where consumers look if they are not told where.
const DefaultDir = "/dev/shm/cvfeeder"

// The errors of this package.
var (
	// ErrUnsupported: this system has no locks that suit.
	ErrUnsupported = errors.New("memory cannot be shared on this system: Linux can")
	// ErrOverwritten: the slot has been used for another tensor since.
	ErrOverwritten = errors.New("the memory has been used for another tensor since")
	// ErrUnreachable: the file is not there, may not be read, or is not what it should be.
	ErrUnreachable = errors.New("the memory of the feeder cannot be read")
)

// Why a tensor in memory cannot be had, as the reasons of gaps.
const (
	ReasonOverwritten = "memory_overwritten"
	ReasonUnreachable = "memory_unreachable"
)

// Reason returns that of an error of [Reader.Hold].
func Reason(err error) string {
	if errors.Is(err, ErrOverwritten) {
		return ReasonOverwritten
	}
	return ReasonUnreachable
}

// A Place is where a tensor is.
type Place struct {
	// File is the name of a file in the directory.
	File string
	// Offset and Length are the tensor's bytes in the file.
	Offset, Length int64
	// Generation is how often the slot had been used then.
	Generation uint64
}

// maxPlace is the length of the longest text of a place.
const maxPlace = 200

// String returns what [ParsePlace] reads: the file, the offset, the length and the
// generation, with semicolons between them.
func (p Place) String() string {
	b := make([]byte, 0, maxPlace)
	b = append(append(b, p.File...), ';')
	b = append(strconv.AppendInt(b, p.Offset, 10), ';')
	b = append(strconv.AppendInt(b, p.Length, 10), ';')
	return string(strconv.AppendUint(b, p.Generation, 10))
}

// ParsePlace reads a place, such as cvf-6f1c09.mem;1052672;4915200;17. It says nothing about
// whether there is such a file.
func ParsePlace(s string) (Place, error) {
	fail := func() (Place, error) {
		return Place{}, fmt.Errorf("%.60q is not a place in memory: the name of a file, an offset, a length and a generation, with semicolons between them", s)
	}
	parts := strings.Split(s, ";")
	if len(s) > maxPlace || len(parts) != 4 || !isFile(parts[0]) {
		return fail()
	}
	p := Place{File: parts[0]}
	var err [3]error
	p.Offset, err[0] = strconv.ParseInt(parts[1], 10, 64)
	p.Length, err[1] = strconv.ParseInt(parts[2], 10, 64)
	p.Generation, err[2] = strconv.ParseUint(parts[3], 10, 64)
	if errors.Join(err[:]...) != nil || p.Offset < firstData || p.Length < 1 || p.Generation < 1 || p.String() != s {
		return fail()
	}
	return p, nil
}

// The names of the files of rings.
const (
	filePrefix = "cvf-"
	fileSuffix = ".mem"
)

// isFile tells whether a name is one that a ring's file can have. It leads nowhere else.
func isFile(name string) bool {
	token, ok := strings.CutPrefix(name, filePrefix)
	token, ok2 := strings.CutSuffix(token, fileSuffix)
	return ok && ok2 && isToken(token) && filepath.Base(name) == name
}

// isToken tells whether s can be part of a file's name and of a subject.
func isToken(s string) bool {
	return s != "" && len(s) <= 32 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z')
	})
}

// The file: a page that says what it is, the headers of the slots, and the slots, each of
// which begins with a page. Numbers are little-endian.
const (
	page        = 4096
	firstHeader = page
	headerBytes = 64
	firstData   = firstHeader + headerBytes

	magic = "CVFMEM01"
	// Where in the first page, in bytes.
	atSlotBytes, atSlots, atData, atToken, atNumber = 8, 16, 24, 32, 64
	// Where in the header of a slot.
	atGeneration, atLength, atSequence = 0, 8, 16
)

// A layout is where the parts of a file are.
type layout struct{ slotBytes, slots, data int64 }

// layoutOf returns the layout of a file with slots for tensors of up to n bytes.
func layoutOf(slots int64, n int) layout {
	up := func(n int64) int64 { return (n + page - 1) / page * page }
	return layout{slotBytes: up(int64(n)), slots: slots, data: up(firstHeader + slots*headerBytes)}
}

func (l layout) size() int64              { return l.data + l.slots*l.slotBytes }
func (l layout) header(slot int64) int64  { return firstHeader + slot*headerBytes }
func (l layout) content(slot int64) int64 { return l.data + slot*l.slotBytes }

// valid tells whether a file of that size can have the layout, which somebody else has
// written.
func (l layout) valid(size int64) bool {
	return l.slotBytes > 0 && l.slotBytes%page == 0 && l.slots > 0 && l.slots <= size/page &&
		l.slotBytes <= size/l.slots && l.data == layoutOf(l.slots, 1).data && l.size() == size
}

// slotOf returns the slot in which a place is, -1 where it is in none.
func (l layout) slotOf(p Place) int64 {
	if p.Offset < l.data || p.Length < 1 || p.Length > l.slotBytes || (p.Offset-l.data)%l.slotBytes != 0 {
		return -1
	}
	if slot := (p.Offset - l.data) / l.slotBytes; slot < l.slots {
		return slot
	}
	return -1
}
