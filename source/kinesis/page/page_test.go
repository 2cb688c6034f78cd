package page_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bodies are answers that are hard to read, or easy to read wrongly.
var bodies = [...]string{
	// As the service sends them.
	`{"Images":[{"TimeStamp":1772366400.2,"ImageContent":"aGVsbG8="},{"TimeStamp":1772366400.4,"Error":"NO_MEDIA"}],"NextToken":"abc+/="}`,
	`{"Images":[]}`, `{"Images":[{}]}`, `{"Images":[null,{"Error":"MEDIA_ERROR"}]}`,
	// Without Images.
	``, ` `, "\n\t\r ", `{}`, `null`, `nullx`, `{"Images":null}`, `{"NextToken":"x"}`, `{"images":[]}`,
	// Order, white space, what follows.
	" {\r\n\"NextToken\" :\t\"n\" , \"Images\" : [ { \"Error\" : \"E\" , \"TimeStamp\" : 1 } , { } ] } ",
	`{"Images":[]}trailing`, `{"Images":[]} {"Images":[{}]}`, "{\"Images\":[]}\x00",
	// Repeated keys: the last wins, null included.
	`{"Images":[{"TimeStamp":1,"TimeStamp":2.5,"Error":"A","Error":"B","ImageContent":"AAAA","ImageContent":"BBBB"}]}`,
	`{"Images":[{"TimeStamp":1,"TimeStamp":null,"Error":"A","Error":null,"ImageContent":"AAAA","ImageContent":null}]}`,
	`{"Images":[{"ImageContent":"*","ImageContent":"BBBB"},{"ImageContent":"BBBB","ImageContent":"*"}]}`,
	`{"Images":null,"Images":[{}],"NextToken":"a","NextToken":"b"}`, `{"Images":[],"NextToken":"a","NextToken":null}`,
	// Timestamps.
	`{"Images":[{"TimeStamp":0},{"TimeStamp":-1.5},{"TimeStamp":1.772366400123e9},{"TimeStamp":1772366400123E-3},{"TimeStamp":1e+3}]}`,
	`{"Images":[{"TimeStamp":1772366400.9999},{"TimeStamp":1772366400.001},{"TimeStamp":-0},{"TimeStamp":1e-400},{"TimeStamp":1e300}]}`,
	`{"Images":[{"TimeStamp":1e999}]}`, `{"Images":[{"TimeStamp":01}]}`, `{"Images":[{"TimeStamp":1.}]}`, `{"Images":[{"TimeStamp":+1}]}`,
	`{"Images":[{"TimeStamp":.5}]}`, `{"Images":[{"TimeStamp":1-}]}`, `{"x":[0,-0,0.0,1E1,1e+01,12.34e-5]}`, `{"x":1e}`, `{"x":1e+}`, `{"x":1.e1}`, `{"x":1.1.1}`, `{"x":--1}`, `{"x":-01}`, `{"x":1e1.1}`, `{"x":1+1}`, `{"Images":[{"TimeStamp":NaN}]}`, `{"Images":[{"TimeStamp":-}]}`,
	`{"Images":[{"TimeStamp":"2026-03-01T12:00:00Z"}]}`, `{"Images":[{"TimeStamp":"1772366400"}]}`, `{"Images":[{"TimeStamp":1`,
	// Base64, plain and escaped, right and wrong.
	`{"Images":[{"ImageContent":""},{"ImageContent":"AA=="},{"ImageContent":"AAA="},{"ImageContent":"AB=="},{"ImageContent":"=AAA"}]}`,
	`{"Images":[{"ImageContent":"A"},{"ImageContent":"AA"},{"ImageContent":"AAA"},{"ImageContent":"AA="},{"ImageContent":"AA==AAAA"}]}`,
	`{"Images":[{"ImageContent":"\/\/\u002b\u002B"},{"ImageContent":"\u0041A\u003d="},{"ImageContent":"AA\nAA"},{"ImageContent":"AAAA\r\nAAAA"},{"ImageContent":"AAA=\n\n\n\n"}]}`,
	`{"Images":[{"ImageContent":"_-AA"},{"ImageContent":"AA\"A"},{"ImageContent":"ÄÖAA"},{"ImageContent":"AA A"},{"ImageContent":"\ud83d\ude00"}]}`,
	"{\"Images\":[{\"ImageContent\":\"AA\nAA\"}]}", "{\"Images\":[{\"ImageContent\":\"AAAAAAA\x00\"}]}", "{\"Images\":[{\"ImageContent\":\"AA\xffA\"}]}",
	`{"Images":[{"ImageContent":"AAAA\x"}]}`, `{"Images":[{"ImageContent":"AAAA\u00g0"}]}`, `{"Images":[{"ImageContent":"AAAA\u00"}]}`,
	// Keys and texts.
	`{"Ima\u0067es":[{"Err\u006fr":"E\\\"\/\b\f\n\r\tÄ\ud83d\ude00\ud83d"}],"Next\u0054oken":"\u00e4"}`,
	"{\"Images\":[{\"Error\":\"\xff\xc3(\"}],\"NextToken\":\"\xe2\x82\",\"\xff\":1}",
	`{"Images":[{"Error":"a` + "\x1f" + `"}]}`, `{Images:[]}`, `{'Images':[]}`, `{"Images"}`, `{"Images":}`, `{"Images":[],}`, `{,"Images":[]}`,
	`{"Images":[{},]}`, `{"Images":[,{}]}`, `{"Images":[{} {}]}`, `{"Images":[{}}`, `{"Images":[{]}`, `{"Images":[{"Error" "E"}]}`, "\xef\xbb\xbf{}",
	// Unknown keys, skipped but checked.
	`{"a":[1,-2.5e3,true,false,null,"\u0020",{"b":{},"c":[]}],"Images":[{"x":"y","":0}],"z":{}}`,
	`{"a":tru}`, `{"a":nul`, `{"a":falsy}`, `{"a":01}`, `{"a":[1,]}`, `{"a":{"b"}}`, `{"a":"\q"}`, "{\"a\":\"\t\"}", `{"a":[}`, `{"a":x}`,
	`{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `,"Images":[]}`,
	// Wrong types.
	`[]`, `"x"`, `1`, `true`, `{"Images":{}}`, `{"Images":"x"}`, `{"Images":1}`, `{"Images":[1]}`, `{"Images":["x"]}`, `{"Images":[[]]}`, `{"Images":[true]}`,
	`{"Images":[{"TimeStamp":true}]}`, `{"Images":[{"TimeStamp":{}}]}`, `{"Images":[{"Error":1}]}`, `{"Images":[{"ImageContent":1}]}`,
	`{"Images":[{"ImageContent":["AAAA"]}]}`, `{"Images":[],"NextToken":1}`, `{"Images":[],"NextToken":{}}`,
}

func TestDecodeIsTheSDKs(t *testing.T) {
	for _, body := range bodies {
		compare(t, []byte(body))
	}
}

// pictures returns an answer with images of these sizes, and the images.
func pictures(sizes ...int) (body []byte, images []page.Image) {
	rnd := rand.NewChaCha8([32]byte{})
	for i, size := range sizes {
		data := make([]byte, size)
		_, _ = rnd.Read(data)
		at := epoch.Add(time.Duration(i) * 200 * time.Millisecond)
		images = append(images, page.Image{Time: at, Data: data})
		body = fmt.Appendf(body, `,{"TimeStamp":%.3f,"ImageContent":"%s"}`,
			float64(at.UnixMilli())/1000, base64.StdEncoding.EncodeToString(data))
	}
	return fmt.Appendf(nil, `{"Images":[%s]}`, body[1:]), images
}

// TestDecodeOfLongImages has images that end near the end of the buffer, some with escapes
// near their end, as from services that escape "=".
func TestDecodeOfLongImages(t *testing.T) {
	body, want := pictures(49_000, 1, 49_104, 49_105, 49_106, 49_107, 150_000, 2, 0, 300_001)
	for pad := range 8 {
		padded := append(bytes.Repeat([]byte(" "), pad), body...)
		for _, body := range [][]byte{padded, bytes.ReplaceAll(padded, []byte("="), []byte(`\u003d`))} {
			got, err := decode(iotest.DataErrReader(bytes.NewReader(body)))
			if diff := cmp.Diff(want, got.Images, sameResult); diff != "" || err != nil {
				t.Fatalf("with %d spaces: %v\n%.2000s", pad, err, diff)
			}
		}
	}
	compare(t, bytes.ReplaceAll(body, []byte("/"), []byte(`\/`)))
}

// TestDecodeOfBrokenBase64 puts every byte at every position of a content.
func TestDecodeOfBrokenBase64(t *testing.T) {
	plain := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("cvfeeder"), 12))
	var d page.Decoder
	for at := range len(plain) {
		for c := range 256 {
			if c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
				continue // JSON's own
			}
			text := plain[:at] + string(rune(c)) + plain[at+1:]
			want, bad := base64.StdEncoding.DecodeString(text)
			var img page.Image
			if _, err := d.Decode(strings.NewReader(`{"Images":[{"ImageContent":"`+text+`"}]}`), func(got page.Image) bool {
				img = got
				return true
			}); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			if (img.Err != nil) != (bad != nil) || bad == nil && !bytes.Equal(img.Data, want) {
				t.Fatalf("%q: %x and %v, want %x and %v", text, img.Data, img.Err, want, bad)
			}
		}
	}
}

// TestCut cuts an answer after every byte: the images before the cut are valid.
func TestCut(t *testing.T) {
	body := []byte(`{"Images":[{"TimeStamp":1,"ImageContent":"AAAA"},{"Error":"\u004e","x":[1e3,true]},{"TimeStamp":1772366400.25,` +
		`"ImageContent":"Z\u005ahh"},null],"NextToken":"t"}`)
	whole, err := decode(bytes.NewReader(body))
	if err != nil || len(whole.Images) != 4 {
		t.Fatal(whole, err)
	}
	for n := 1; n < len(body); n++ {
		got, err := decode(bytes.NewReader(body[:n]))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", body[:n], err)
		}
		want := 0
		for _, end := range []string{`AA"}`, `true]}`, `hh"}`, `null`} {
			if bytes.Contains(body[:n], []byte(end)) {
				want++
			}
		}
		if diff := cmp.Diff(append([]page.Image(nil), whole.Images[:want]...), got.Images, sameResult); diff != "" {
			t.Errorf("%s: %s", body[:n], diff)
		}
		broken := errors.New("broken")
		if _, err := decode(io.MultiReader(bytes.NewReader(body[:n]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Errorf("%s: %v", body[:n], err)
		}
	}
}

func TestStop(t *testing.T) {
	body, _ := pictures(10, 20, 30)
	var d page.Decoder
	n := 0
	token, err := d.Decode(iotest.OneByteReader(bytes.NewReader(body)), func(page.Image) bool {
		n++
		return n < 2
	})
	if n != 2 || token != "" || err != nil {
		t.Errorf("%d images, %q, %v", n, token, err)
	}
	// The decoder can be used again.
	if _, err := d.Decode(bytes.NewReader(body), func(page.Image) bool { n++; return true }); n != 5 || err != nil {
		t.Errorf("%d images, %v", n, err)
	}
}

// endless repeats a text for a gibibyte, and counts what was read of it.
type endless struct {
	text string
	read int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.read >= 1<<30 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) {
		m := copy(p[n:], e.text[(e.read+int64(n))%int64(len(e.text)):])
		n += m
	}
	e.read += int64(n)
	return n, nil
}

func TestHostile(t *testing.T) {
	const memory, reading = 48 << 20, 8 << 20
	for _, tc := range []struct{ name, head, repeat, want string }{
		{"an endless image", `{"Images":[{"ImageContent":"`, "AAAA", "ImageContent"},
		{"an endless image of escapes", `{"Images":[{"ImageContent":"`, `\u0041`, "string"},
		{"an endless image that is no base64", `{"Images":[{"ImageContent":"`, `A*`, "string"},
		{"an endless error", `{"Images":[{"Error":"`, "E", "string"},
		{"an endless token", `{"NextToken":"`, "t", "string"},
		{"an endless key", `{"`, "k", "string"},
		{"an endless text that is skipped", `{"x":"`, "x", "besides the images"},
		{"an endless timestamp", `{"Images":[{"TimeStamp":1`, "0", "number"},
		{"an endless number that is skipped", `{"x":1`, "0", "number"},
		{"images without end", `{"Images":[{}`, ",{}", "images"},
		{"contents of one image without end", `{"Images":[{"ImageContent":"AAAA"`, `,"ImageContent":"` + strings.Repeat("A", 4000) + `"`, "besides the images"},
		{"white space", "", " \n", "besides the images"},
		{"white space in the list", `{"Images":[`, "\t", "besides the images"},
		{"unknown keys", `{"Images":[{"a":1`, `,"b":[true,"c"]`, "besides the images"},
		{"an endless list that is skipped", `{"x":[1`, ",2", "besides the images"},
		{"arrays in arrays", `{"x":`, "[", "levels"},
		{"objects in objects", `{"x":`, `{"x":`, "levels"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var before, after runtime.MemStats
			tail := &endless{text: tc.repeat}
			runtime.ReadMemStats(&before)
			_, err := decode(io.MultiReader(strings.NewReader(tc.head), tail))
			runtime.ReadMemStats(&after)
			if !errors.Is(err, page.ErrLimit) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one of %s", err, tc.want)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > memory || tail.read > reading {
				t.Errorf("%d KiB allocated, %d KiB read", got>>10, tail.read>>10)
			}
		})
	}
}

// TestHostileSilence reads an answer that never comes.
func TestHostileSilence(t *testing.T) {
	if _, err := decode(silent{}); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

func FuzzDecode(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	body, _ := pictures(100, 200)
	f.Add(body)
	f.Fuzz(compare)
}
