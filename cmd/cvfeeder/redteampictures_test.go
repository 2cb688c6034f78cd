package main

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

func pictureAttacks() []attack {
	const large = "decoder: {max_size: 8192x8192}"
	all := []attack{}
	for _, a := range []struct {
		name    string
		memory  int
		more    string
		picture func() []byte
		outcome string // of most slots
	}{
		{"progressive JPEG of 8192x8192", 256, "", func() []byte { return flatJPEG(8192, 8192, 3, true, 0) }, "undecodable"},
		{"progressive JPEG of 8192x8192, where max_size allows it", 900, large, func() []byte { return flatJPEG(8192, 8192, 3, true, 0) }, "published"},
		{"progressive CMYK JPEG of 3840x2160", 400, "", func() []byte { return flatJPEG(3840, 2160, 4, true, 0) }, "published"},
		{"progressive CMYK JPEG of 8192x8192, where max_size allows it", 1400, large, func() []byte { return flatJPEG(8192, 8192, 4, true, 0) }, "published"},
		{"16-bit RGBA PNG of 3840x2160", 400, "", func() []byte { return flatPNG(3840, 2160, 0) }, "published"},
		{"16-bit RGBA PNG of 3840x2160 with 400 MB behind it", 400, "", func() []byte { return flatPNG(3840, 2160, 400<<20) }, ""},
		{"JPEG of 1280x720 and 480 scans", 256, "", func() []byte { return flatJPEG(1280, 720, 3, true, 476) }, "undecodable"},
		{"JPEG of 3840x2160 and 46 scans", 400, "", func() []byte { return flatJPEG(3840, 2160, 3, true, 42) }, ""},
		{"JPEG that lost half a restart marker", 256, "", lostMarker, "undecodable"},
	} {
		all = append(all, attack{name: a.name, memory: a.memory, run: func(t *testing.T, _ attack) outcome {
			return besetByPictures(t, a.more, a.picture(), a.outcome)
		}})
	}
	return all
}

// besetByPictures has cam-1 send a picture only, in which cam-2 must not be held up.
func besetByPictures(t *testing.T, more string, picture []byte, want string) outcome {
	s := besiege(t, siegeOptions{more: more, fake: kinesistest.Options{
		Corrupt: func(stream string, _ time.Time, data []byte) []byte {
			if stream == "cam-1" {
				return picture
			}
			return data
		},
	}})
	s.flows("cam-2")
	count := func(outcome string) (n int) {
		_, scraped := s.get(t.Context(), "/metrics")
		for line := range strings.Lines(scraped) {
			_, _ = fmt.Sscanf(line, `cvfeeder_slots_total{stream="cam-1",outcome="`+outcome+`"} %d`, &n)
			_, _ = fmt.Sscanf(line, `cvfeeder_slots_total{outcome="`+outcome+`",stream="cam-1"} %d`, &n)
		}
		return n
	}
	begin := time.Now()
	s.await("some of the pictures have their outcome", siegeWithin, func() bool {
		return want != "" && count(want) >= 10 || want == "" && count("published")+count("undecodable") >= 5
	})
	pause(max(0, 10*time.Second-time.Since(begin)))
	n, gap := s.since("cam-2", begin)
	if longest := 10 * time.Second * time.Duration(raceFactor()); gap > longest || n < 10 {
		t.Errorf("cam-2 had nothing for %v, and %d tensors in all", gap, n)
	}
	return s.finish("%d KB; %d published, %d undecodable; the other camera had nothing for %.1f s at most",
		len(picture)>>10, count("published"), count("undecodable"), gap.Seconds())
}

// flatJPEG returns a JPEG of one colour without subsampling: progressive or with a scan for
// each component, and with as many more scans over all of it. The only Huffman code for DC
// means "the same as before", the only one for AC "nothing more", of a block or, progressive,
// of as many blocks as the 14 bits after it say.
func flatJPEG(width, height, components int, progressive bool, more int) []byte {
	blocks := ((width + 7) / 8) * ((height + 7) / 8)
	oneCode := "\x01" + strings.Repeat("\x00", 15)
	ac, frame := "\x00", byte(0xc0)
	if progressive {
		ac, frame = "\xe0", 0xc2
	}
	b := []byte("\xff\xd8\xff\xdb\x00\x43\x00" + strings.Repeat("\x01", 64))
	b = append(b, 0xff, frame, 0, byte(8+3*components), 8, byte(height>>8), byte(height), byte(width>>8), byte(width), byte(components))
	var all []byte
	for c := range components {
		b = append(b, byte(c+1), 0x11, 0)
		all = append(all, byte(c+1))
	}
	b = append(b, "\xff\xc4\x00\x14\x00"+oneCode+"\x00\xff\xc4\x00\x14\x10"+oneCode+ac...)
	bits := func(n int) []byte { return make([]byte, (n+7)/8) }
	if progressive {
		b = append(b, jpegScan(all, 0, 0, bits(blocks*components))...)
	}
	empty := bits(15 * ((blocks + 1<<14 - 1) >> 14))
	for _, c := range all {
		if progressive {
			b = append(b, jpegScan([]byte{c}, 1, 63, empty)...)
		} else {
			b = append(b, jpegScan([]byte{c}, 0, 63, bits(2*blocks))...)
		}
	}
	for range more {
		b = append(b, jpegScan(all, 0, 0, bits(blocks*components))...)
	}
	return append(b, 0xff, 0xd9)
}

// jpegScan returns a scan of components that use the tables 0.
func jpegScan(components []byte, first, last byte, data []byte) []byte {
	b := []byte{0xff, 0xda, 0, byte(6 + 2*len(components)), byte(len(components))}
	for _, c := range components {
		b = append(b, c, 0)
	}
	return append(append(b, first, last, 0), data...)
}

// flatPNG returns a PNG of 16-bit RGBA pixels, and of so many bytes after them.
func flatPNG(width, height, more int) []byte {
	var rows bytes.Buffer
	z, _ := zlib.NewWriterLevel(&rows, zlib.BestCompression)
	row := make([]byte, 1+8*width)
	for range height + more/len(row) {
		_, _ = z.Write(row) // to memory
	}
	_ = z.Close()
	header := binary.BigEndian.AppendUint32(nil, uint32(width))
	header = append(binary.BigEndian.AppendUint32(header, uint32(height)), 16, 6, 0, 0, 0)
	b := []byte("\x89PNG\r\n\x1a\n")
	for _, chunk := range []struct {
		name string
		data []byte
	}{{"IHDR", header}, {"IDAT", rows.Bytes()}, {"IEND", nil}} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(chunk.data)))
		named := append([]byte(chunk.name), chunk.data...)
		b = binary.BigEndian.AppendUint32(append(b, named...), crc32.ChecksumIEEE(named))
	}
	return b
}

// lostMarker returns a picture with restart markers, without the first byte of one.
func lostMarker() []byte {
	data, err := os.ReadFile(filepath.Join("..", "..", "transform", "opencv", "testdata", "pictures", "restart.jpg"))
	if err != nil {
		panic(err)
	}
	at := bytes.Index(data, []byte{0xff, 0xd0})
	return slices.Delete(data, at, at+1)
}
