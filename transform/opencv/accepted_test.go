package opencv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gocv.io/x/gocv"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A kindOfPicture is a row of the table of accepted pictures in docs/fidelity.md.
type kindOfPicture struct {
	name string
	data []byte
}

// kindsOfPictures returns pictures of all kinds of that table, in its order.
func kindsOfPictures(t *testing.T) []kindOfPicture {
	t.Helper()
	whole, inSteps := readPicture(t, "420.jpg"), readPicture(t, "progressive.jpg")
	scanAt := bytes.Index(whole, []byte{0xff, startOfScan})
	header := scanAt + 2 + int(whole[scanAt+3]) // where its data begins
	sequential := slices.Clone(whole)
	sequential[header-3], sequential[header-2], sequential[header-1] = 0, 0, 0
	revision := slices.Clone(whole)
	revision[bytes.Index(whole, []byte("JFIF\x00"))+5] = 3
	adobe := slices.Insert(slices.Clone(without(t, whole, 0xe0, 0)), 2, []byte("\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x07")...)
	stray := slices.Insert(slices.Clone(whole), scanAt, 0, 0, 0)
	badCode := slices.Insert(slices.Clone(readPicture(t, "large.jpg")), 8000, bytes.Repeat([]byte{0xff, 0}, 6)...)
	scans := slices.Repeat([]scan{dcScan(0, 0)}, 60)
	for c := range byte(3) {
		scans = append(scans, acScan(c+1, 1, 63, 0, 0))
	}
	png := readPicture(t, "rgb.png")
	checksum := slices.Clone(png)
	checksum[bytes.Index(png, []byte("IDAT"))+40] ^= 1
	return []kindOfPicture{
		{"JPEG, baseline", whole},
		{"JPEG, progressive", inSteps},
		{"JPEG, restart markers", readPicture(t, "restart.jpg")},
		{"JPEG, gray", readPicture(t, "gray.jpg")},
		{"JPEG, CMYK", readPicture(t, "cmyk.jpg")},
		{"JPEG with bytes behind its end", append(slices.Clone(whole), "more"...)},
		{"baseline JPEG without Huffman tables, as in MJPEG", without(t, whole, defineHuffman, 0)},
		{"baseline JPEG with wrong parameters of its scan", sequential},
		{"JPEG of an unknown JFIF revision", revision},
		{"JPEG of an unknown Adobe transform", adobe},
		{"progressive JPEG without Huffman tables", without(t, inSteps, defineHuffman, 0)},
		{"JPEG without quantization tables", without(t, whole, defineQuantization, 0)},
		{"JPEG that is cut off", whole[:len(whole)*2/3]},
		{"JPEG without its end marker", whole[:len(whole)-2]},
		{"JPEG with a lost byte between restart markers", readBroken(t, "worst.jpg")},
		{"JPEG with a code that no table has", badCode},
		{"JPEG with stray bytes before a marker", stray},
		{"progressive JPEG without the scans of luma", readBroken(t, "no-luma.jpg")},
		{"progressive JPEG of more than 50 scans", progressive(scans...)},
		{"PNG, 8 or 16 bits, alpha, palette, interlaced", readPicture(t, "rgb16.png")},
		{"PNG with pixels beyond its palette", beyondPalette()},
		{"PNG whose zlib header promises a small window", smallWindow()},
		{"PNG that is cut off", png[:len(png)*2/3]},
		{"PNG with a wrong checksum", checksum},
	}
}

// beyondPalette returns a PNG of which some pixels have a color that its palette lacks.
func beyondPalette() []byte {
	header := []byte("\x00\x00\x00\x08\x00\x00\x00\x02\x08\x03\x00\x00\x00")
	rows := "\x00\x00\x01\x02\x03\x02\x01\x00\x07\x00\x00\x01\x02\x03\x02\x01\x00\xff"
	return pngOf(pngChunk("IHDR", header), pngChunk("PLTE", []byte("abcdefghijkl")),
		pngChunk("IDAT", deflate([]byte(rows))), pngChunk("IEND", nil))
}

// smallWindow returns a PNG that repeats bytes from farther back than the window that its
// zlib header announces: 256 bytes.
func smallWindow() []byte {
	header := []byte("\x00\x00\x02\x00\x00\x00\x00\x04\x08\x00\x00\x00\x00")
	row := make([]byte, 1+512)
	for i := range row[1:] {
		row[1+i] = byte(i * i >> 3)
	}
	packed := deflate(bytes.Repeat(row, 4))
	packed[0], packed[1] = 0x08, 0x1d
	return pngOf(pngChunk("IHDR", header), pngChunk("IDAT", packed), pngChunk("IEND", nil))
}

// Verdicts of the table.
const (
	accepted = "accepted"
	warned   = "accepted, with a warning"
	refused  = "refused"
)

// TestAcceptedPictures holds the table of docs/fidelity.md to what cvfeeder does with the
// pictures, on every path, and to what Pillow, OpenCV and djpeg do, which of them there are. Where
// cvfeeder and a reference accept a picture, it has the same pixels.
func TestAcceptedPictures(t *testing.T) {
	table := acceptedTable(t)
	var all, names []string
	kinds := kindsOfPictures(t)
	for _, k := range kinds {
		names = append(names, k.name)
	}
	for name := range table {
		if !slices.Contains(names, name) {
			t.Errorf("docs/fidelity.md has a row %q that is not tested", name)
		}
	}
	d, pillow := newDecoders(t, Options{}), verdictsPillow(t, kinds)
	for i, k := range kinds {
		got := []string{d.verdict(t, k), pillow[i], verdictOpenCV(t, k), verdictDjpeg(t, k)}
		want := table[k.name]
		if want == nil {
			want = make([]string, len(got))
		}
		for i, reference := range []string{"cvfeeder", "Pillow", "OpenCV", "djpeg"} {
			if got[i] == "" {
				got[i] = want[i] // it is not there
			}
			if got[i] != want[i] {
				t.Errorf("%s: %s by %s, and the table has %q", k.name, got[i], reference, want[i])
			}
		}
		all = append(all, fmt.Sprintf("| %s | %s |", k.name, strings.Join(got, " | ")))
	}
	if t.Failed() {
		t.Logf("the table is:\n%s", strings.Join(all, "\n"))
	}
}

// acceptedTable returns the verdicts of the table in docs/fidelity.md, by kind of picture.
func acceptedTable(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/fidelity.md")
	if err != nil {
		t.Fatal(err)
	}
	table := map[string][]string{}
	inside := false
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | ")
		switch {
		case cells[0] == "picture":
			inside = true
		case strings.HasPrefix(cells[0], "---"):
		case len(cells) != 5:
			inside = false
		case inside:
			table[cells[0]] = cells[1:]
		}
	}
	return table
}

// verdict decodes the picture on every path.
func (d decoders) verdict(t *testing.T, k kindOfPicture) string {
	t.Helper()
	d.compare(t, k.data, newOutput(t, "yolo", nil))
	if decodeReason(t, d.rows, k.data) != "" {
		return refused
	}
	return accepted
}

// pixelsHere returns the pixels of a picture that is accepted, nil for others.
func pixelsHere(t *testing.T, k kindOfPicture, color transform.Color) []byte {
	t.Helper()
	w := NewWorker(Options{})
	defer w.Close()
	if decodeReason(t, w, k.data) != "" {
		return nil
	}
	return makeTensor(t, w, k.data, newOutput(t, "raw", func(s *transform.Spec) { s.Color = color }).Spec).Data
}

func verdictOpenCV(t *testing.T, k kindOfPicture) string {
	t.Helper()
	m, err := gocv.IMDecode(k.data, gocv.IMReadColor|gocv.IMReadIgnoreOrientation)
	defer func() { _ = m.Close() }() // also where it is empty
	if err != nil || m.Empty() {
		return refused
	}
	theirs, err := m.DataPtrUint8()
	if err != nil {
		t.Fatal(err)
	}
	ours := pixelsHere(t, k, transform.BGR)
	if ours != nil && !strings.Contains(k.name, "CMYK") && !bytes.Equal(ours, theirs) {
		t.Errorf("%s: OpenCV has other pixels", k.name)
	}
	return accepted
}

func verdictDjpeg(t *testing.T, k kindOfPicture) string {
	t.Helper()
	if bytes.HasPrefix(k.data, pngMagic) {
		return "-"
	}
	program, err := exec.LookPath("djpeg")
	if err != nil {
		return ""
	}
	cmd := exec.CommandContext(t.Context(), program, "-rgb", "-pnm")
	cmd.Stdin = bytes.NewReader(k.data)
	var failure *exec.ExitError
	out, err := cmd.Output()
	verdict := accepted
	if errors.As(err, &failure) && failure.ExitCode() == 2 {
		verdict = warned
	} else if err != nil {
		return refused
	}
	ours := pixelsHere(t, k, transform.RGB)
	if ours != nil && !strings.Contains(k.name, "CMYK") && !bytes.HasSuffix(out, ours) {
		t.Errorf("%s: djpeg has other pixels", k.name)
	}
	return verdict
}

// verdictsPillow asks Pillow about all of the pictures, where the tests' Python has it.
func verdictsPillow(t *testing.T, kinds []kindOfPicture) []string {
	t.Helper()
	const script = `
import sys
try:
    from PIL import Image
except ImportError:
    sys.exit("there is no Pillow")
for file in sys.argv[1:]:
    try:
        Image.open(file).load()
    except Exception:
        print("refused")
    else:
        print("accepted")
`
	none := make([]string, len(kinds))
	python := os.Getenv("CVFEEDER_PYTHON")
	if python == "" {
		return none
	}
	args, dir := []string{"-W", "ignore", "-c", script}, t.TempDir()
	for i, k := range kinds {
		args = append(args, fmt.Sprintf("%s/%02d", dir, i))
		if err := os.WriteFile(args[len(args)-1], k.data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), python, args...).Output()
	if err != nil {
		t.Logf("Pillow is left out: %v", err)
		return none
	}
	verdicts := strings.Fields(string(out))
	if len(verdicts) != len(kinds) {
		t.Fatalf("Pillow said %q", out)
	}
	return verdicts
}

// stderrOf returns what f writes to the process's standard error: less than a pipe holds.
func stderrOf(t testing.TB, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	kept, err := syscall.Dup(syscall.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Dup3(int(w.Fd()), syscall.Stderr, 0); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { // also where f fails the test
			if err := errors.Join(syscall.Dup3(kept, syscall.Stderr, 0), syscall.Close(kept), w.Close()); err != nil {
				panic(err)
			}
		}()
		f()
	}()
	written, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(written)
}

// TestStandardErrorStaysEmpty: the libraries would write a line to standard error for each
// broken picture, past the log.
func TestStandardErrorStaysEmpty(t *testing.T) {
	if written := stderrOf(t, func() { fmt.Fprint(os.Stderr, "heard") }); written != "heard" {
		t.Fatalf("the test hears %q", written)
	}
	w := NewWorker(Options{})
	defer w.Close()
	kinds := kindsOfPictures(t)
	files, err := os.ReadDir("testdata/pictures")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data := readPicture(t, file.Name())
		kinds = append(kinds, kindOfPicture{file.Name(), data}, kindOfPicture{"half of " + file.Name(), data[:len(data)/2]})
	}
	gray := pngOf(pngChunk("IHDR", []byte("\x00\x00\x00\x05\x00\x00\x00\x04\x08\x00\x00\x00\x00")),
		pngChunk("PLTE", []byte("abcdef")), pngChunk("IDAT", deflate(make([]byte, 24))), pngChunk("IEND", nil))
	kinds = append(kinds, kindOfPicture{"a palette in a gray PNG", gray})
	for _, k := range kinds {
		var decoded error
		if written := stderrOf(t, func() { decoded = w.Decode(source.Frame{Data: k.data}, nil, nil) }); written != "" {
			t.Errorf("%s (%v): %q", k.name, decoded, written)
		}
	}
	if err := w.Decode(source.Frame{Data: gray}, nil, nil); err != nil {
		t.Error(err)
	}
}
