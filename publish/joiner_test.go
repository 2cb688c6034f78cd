package publish_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

// dropped makes j record the subjects of the tensors that it gives up.
func dropped(j *publish.Joiner) *[]string {
	subjects := new([]string)
	j.OnDrop = func(subject string) { *subjects = append(*subjects, subject) }
	return subjects
}

// join adds the messages and returns those that came out whole.
func join(t testing.TB, j *publish.Joiner, messages ...publish.Message) []publish.Message {
	t.Helper()
	var whole []publish.Message
	for _, m := range messages {
		w, ok, err := j.Add(m)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			whole = append(whole, w)
		}
	}
	return whole
}

func TestJoiner(t *testing.T) {
	first, second := sized(t, "a", 1000, 64, 48), sized(t, "a", 1200, 64, 48)
	p, q := split(t, first, 5000), split(t, second, 5000)
	other := split(t, sized(t, "b", 1000, 64, 48), 5000)
	gap := publish.Message{Subject: first.Subject, Header: map[string][]string{"Cvf-Gap": {"no_media"}}}
	tests := map[string]struct {
		in      []publish.Message
		want    []publish.Message
		dropped int
	}{
		"in order":              {[]publish.Message{p[0], p[1], p[2]}, []publish.Message{first}, 0},
		"backwards":             {[]publish.Message{p[2], p[1], p[0]}, []publish.Message{first}, 0},
		"whole ones":            {[]publish.Message{first, gap, second}, []publish.Message{first, gap, second}, 0},
		"repeated":              {[]publish.Message{p[0], p[0], p[1], p[0], p[2], p[2], p[0], q[0], q[1], q[2]}, []publish.Message{first, second}, 0},
		"one lost":              {[]publish.Message{p[0], p[2], q[0], q[1], q[2]}, []publish.Message{second}, 1},
		"cut off by a whole":    {[]publish.Message{p[0], p[1], second, p[2]}, []publish.Message{second}, 1},
		"cut off by a gap":      {[]publish.Message{p[0], p[1], gap}, []publish.Message{gap}, 1},
		"other subjects do not": {[]publish.Message{p[0], other[0], p[1], other[1], p[2]}, []publish.Message{first}, 0},
		"other number of parts": {[]publish.Message{p[0], p[1], split(t, first, 7000)[0], split(t, first, 7000)[1]}, []publish.Message{first}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var j publish.Joiner
			gone := dropped(&j)
			if diff := cmp.Diff(tt.want, join(t, &j, tt.in...)); diff != "" {
				t.Error(diff)
			}
			if len(*gone) != tt.dropped {
				t.Errorf("dropped %q, want %d", *gone, tt.dropped)
			}
		})
	}
}

// TestJoinerBesideJetStreamHeaders: parts of one tensor may differ in headers that are
// meant for the broker.
func TestJoinerBesideJetStreamHeaders(t *testing.T) {
	m := sized(t, "a", 1000, 64, 48)
	parts := split(t, m, 5000)
	for i := range parts {
		parts[i].Header["Nats-Expected-Last-Subject-Sequence"] = []string{strconv.Itoa(i)}
	}
	if diff := cmp.Diff([]publish.Message{m}, join(t, &publish.Joiner{}, parts...)); diff != "" {
		t.Error(diff)
	}
}

// TestJoinerAgainstSplit sends tensors of random sizes on several subjects, randomly
// interleaved, with parts lost and repeated. Exactly the tensors that lost nothing come
// out, unchanged.
func TestJoinerAgainstSplit(t *testing.T) {
	for seed := range uint64(25) {
		random := rand.New(rand.NewPCG(seed, 1))
		var j publish.Joiner
		gone := dropped(&j)
		queues := make([][]publish.Message, 1+random.IntN(3))
		want := make(map[string][]publish.Message)
		lost := 0
		for i := range queues {
			for n := range 4 {
				m := sized(t, strconv.Itoa(i), source.Slot(n*200), 1+random.IntN(64), 1+random.IntN(64))
				parts := split(t, m, 1800+random.IntN(4000))
				hole := -1
				if len(parts) > 1 && n < 3 && random.IntN(4) == 0 {
					hole = random.IntN(len(parts))
					lost++
				} else {
					want[m.Subject] = append(want[m.Subject], m)
				}
				for k, p := range parts {
					if k == hole {
						continue
					}
					queues[i] = append(queues[i], p)
					if len(parts) > 1 && random.IntN(5) == 0 {
						queues[i] = append(queues[i], p)
					}
				}
			}
		}
		got := make(map[string][]publish.Message)
		for len(queues) > 0 {
			i := random.IntN(len(queues))
			if len(queues[i]) == 0 {
				queues = append(queues[:i], queues[i+1:]...)
				continue
			}
			for _, m := range join(t, &j, queues[i][0]) {
				got[m.Subject] = append(got[m.Subject], m)
			}
			queues[i] = queues[i][1:]
		}
		if !reflect.DeepEqual(want, got) { // cmp takes seconds for so many bytes
			t.Fatalf("seed %d: other tensors came out", seed)
		}
		if len(*gone) != lost {
			t.Fatalf("seed %d: dropped %q, want %d", seed, *gone, lost)
		}
	}
}

func TestJoinerErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*publish.Message)
		want   string
	}{
		"no number":   {func(m *publish.Message) { m.Header["Cvf-Chunk"] = []string{"two"} }, "Cvf-Chunk"},
		"0":           {func(m *publish.Message) { m.Header["Cvf-Chunk"] = []string{"0/3"} }, "not a part"},
		"beyond":      {func(m *publish.Message) { m.Header["Cvf-Chunk"] = []string{"4/3"} }, "not a part"},
		"of one":      {func(m *publish.Message) { m.Header["Cvf-Chunk"] = []string{"1/1"} }, "not a part"},
		"signed":      {func(m *publish.Message) { m.Header["Cvf-Chunk"] = []string{"+1/3"} }, "not a part"},
		"millions":    {func(m *publish.Message) { m.Header["Cvf-Chunk"] = []string{"1/9999999"} }, "not a part"},
		"empty":       {func(m *publish.Message) { m.Data = nil }, "does not fit"},
		"short":       {func(m *publish.Message) { m.Data = m.Data[:100] }, "does not fit"},
		"long":        {func(m *publish.Message) { m.Data = append(m.Data, m.Data...) }, "does not fit"},
		"no envelope": {func(m *publish.Message) { delete(m.Header, "Cvf-Shape") }, "Cvf-Shape"},
		"two ids":     {func(m *publish.Message) { m.Header["Nats-Msg-Id"] = []string{"a", "b"} }, "Nats-Msg-Id"},
		"huge": {func(m *publish.Message) {
			m.Header["Cvf-Shape"] = []string{"1,10000,10000,3"}
			m.Data = make([]byte, 100_000_000)
		}, "more than"},
	} {
		var j publish.Joiner
		gone := dropped(&j)
		m := sized(t, "a", 1000, 64, 48)
		join(t, &j, split(t, m, 5000)[0])
		bad := split(t, m, 5000)[1]
		tt.change(&bad)
		if _, ok, err := j.Add(bad); ok || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
		if len(*gone) != 1 || j.Open(m.Subject) {
			t.Errorf("%s: dropped %q", name, *gone)
		}
		if whole := join(t, &j, split(t, m, 5000)...); len(whole) != 1 {
			t.Errorf("%s: not usable afterwards", name)
		}
	}
}

func TestJoinerBounds(t *testing.T) {
	j := publish.NewSmallJoiner(25_000, 3) // room for two tensors of 9216 bytes and their headers
	gone := dropped(j)
	parts := func(stream string) []publish.Message { return split(t, sized(t, stream, 1000, 64, 48), 5000) }
	a, b, c := parts("a"), parts("b"), parts("c")
	join(t, j, a[0], b[0], a[1], c[0]) // b has waited longest
	if diff := cmp.Diff([]string{b[0].Subject}, *gone); diff != "" {
		t.Error(diff)
	}
	if whole := join(t, j, a[2], c[1], c[2]); len(whole) != 2 {
		t.Errorf("%d whole", len(whole))
	}
	join(t, j, parts("d")[0], parts("e")[0], b[0]) // the finished ones are forgotten first, then d for its bytes
	if diff := cmp.Diff([]string{b[0].Subject, "cvf.t.d.detector"}, *gone); diff != "" {
		t.Error(diff)
	}
	if !j.Open("cvf.t.e.detector") || j.Open("cvf.t.d.detector") || j.Open(a[0].Subject) {
		t.Error("other tensors are open than e's alone")
	}
	j.Forget("cvf.t.e.detector")
	if len(*gone) != 3 || j.Open("cvf.t.e.detector") {
		t.Errorf("dropped %q", *gone)
	}
}

// FuzzJoiner changes one header and the payload of the second of three parts.
func FuzzJoiner(f *testing.F) {
	m := sized(f, "a", 1000, 64, 48)
	parts := split(f, m, 5000)
	for name, value := range map[string]string{
		"Cvf-Chunk": "2/3", "Cvf-Shape": "1,65536,65536,3", "Cvf-Dtype": "FP32", "Nats-Msg-Id": "x/2/3", "Cvf-Gap": "x",
	} {
		f.Add(name, value, parts[1].Data)
	}
	f.Add("Cvf-Chunk", "65536/65536", []byte{1})
	f.Fuzz(func(t *testing.T, name, value string, data []byte) {
		j := publish.NewSmallJoiner(1<<20, 0)
		changed := split(t, m, 5000)[1]
		changed.Header[name] = []string{value}
		changed.Data = data
		for _, in := range []publish.Message{parts[0], changed, parts[1], parts[2]} {
			whole, ok, err := j.Add(in)
			if !ok || err != nil || in.Kind() != publish.KindPart {
				continue
			}
			e, err := publish.ParseEnvelope(whole.Header)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Check(len(whole.Data)); err != nil {
				t.Fatal(err)
			}
		}
		for _, in := range parts {
			if whole, ok, _ := j.Add(in); ok && !bytes.Equal(whole.Data, m.Data) && bytes.Equal(changed.Data, parts[1].Data) {
				t.Fatal("other bytes")
			}
		}
	})
}
