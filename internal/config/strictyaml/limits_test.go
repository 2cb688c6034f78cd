package strictyaml

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestHostileFiles: a file that is made to be expensive is refused soon, in little memory,
// with an error that names the limit.
func TestHostileFiles(t *testing.T) {
	laughs := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 12 {
		laughs += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), i)
	}
	many := "base: &a {"
	for i := range 500 {
		many += fmt.Sprintf("k%d: 1, ", i)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"brackets":            {strings.Repeat("[", 400_000), "brackets are open"},
		"braces":              {strings.Repeat("{", 400_000), "brackets are open"},
		"brackets in a line":  {"a: " + strings.Repeat("[", 100), "within one another"},
		"lists":               {strings.Repeat("- ", 100_000) + "1", "within one another"},
		"keys":                {strings.Repeat("? ", 100_000) + "1", "within one another"},
		"indentation":         {indented(2000), "within one another"},
		"a large file":        {strings.Repeat("# comment\n", 1<<19), "larger than 4194304 bytes"},
		"commas":              {"a: [" + strings.Repeat("1,", 1<<20) + "]", "punctuation marks"},
		"aliases":             {"level: &a info\ntags: [" + strings.Repeat("*a, ", 60_000) + "*a]\n", "more than 50000 aliases"},
		"aliases of aliases":  {laughs + "tags: *a12\nroutes: *a12\n", "is not"},
		"merges of many keys": {many + "z: 1}\nroutes:\n" + strings.Repeat("  - {<<: *a}\n", 1500), "values"},
		"a long key":          {strings.Repeat("k", 1<<20) + ": 1", "a key of 1048576 bytes"},
		"a long value":        {"level: " + strings.Repeat("x", 1<<20), "unknown value"},
		"many problems":       {strings.Repeat("colour: 1\n", 4000), "more problems"},
		"many keys":           {strings.Repeat("colour: 1\n", 20_000), "more than 5000 keys"},
		"many keys below":     {"users:\n" + strings.Repeat("  a: {soft: 1}\n", 20_000), "more than 5000 keys"},
		"NUL":                 {"level: info\nworkers: 1\n\x00evil: true\n", "line 3 has a NUL character"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			s := server{Level: "info", Workers: 1}
			err := Decode("hostile.yaml", []byte(tc.text), env, &s).Err()
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tc.want) || len(err.Error()) > 1<<19 {
				t.Errorf("error %.300v, want %s", err, tc.want)
			}
			if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 1500 {
				t.Errorf("%d MiB were allocated", got)
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func indented(depth int) string {
	var text strings.Builder
	for i := range depth {
		text.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return text.String()
}

// TestVariablesAreNotShown: whatever is wrong with a value that has a variable, the problem
// shows the variable, not its value.
func TestVariablesAreNotShown(t *testing.T) {
	secrets := func(name string) (string, bool) { return "hunter2-" + strings.ToLower(name), name != "NO" }
	type inner struct {
		Text string `yaml:"text"`
	}
	var v struct {
		Switch   bool          `yaml:"switch"`
		Number   int           `yaml:"number"`
		Byte     uint8         `yaml:"byte"`
		Ratio    float64       `yaml:"ratio"`
		Duration time.Duration `yaml:"duration"`
		Word     string        `yaml:"word" jsonschema:"enum=a,enum=hunter,enum=b"`
		URL      string        `yaml:"url"`
		List     []inner       `yaml:"list"`
	}
	doc := Decode("x.yaml", []byte(`switch: ${A}
number: ${B}
byte: 1${C}
ratio: ${D}
duration: ${E}s
word: ${F}
url: nats://user:${PASSWORD}@host
list:
  - text: ${G}
  - text: ${NO}
  - ${H}
`), secrets, &v)
	if v.URL != "nats://user:hunter2-password@host" || v.List[0].Text != "hunter2-g" {
		t.Fatalf("%+v", v)
	}
	doc.Report("url", "%q is bad, and so is its part %s, and %v", v.URL, "hunter2-password", fmt.Errorf("parse %q: no", v.URL))
	doc.Report("url", "the scheme %q", "hunter2")
	doc.Report("list[0].text", "there is no %q; one of %s", v.List[0].Text, "x, hunter2-g, y")
	doc.Report("switch", "the key url is %s", v.URL)
	text := doc.Err().Error()
	if strings.Contains(text, "hunter2") {
		t.Errorf("a value is shown:\n%s", text)
	}
	for _, name := range []string{"${A}", "${B}", "${C}", "${D}", "${E}", "${F}", "${PASSWORD}", "${G}", "${H}", "NO is not set"} {
		if !strings.Contains(text, name) {
			t.Errorf("%s is not named:\n%s", name, text)
		}
	}
	if reflect.TypeOf(doc.Err()) != reflect.TypeFor[Errors]() {
		t.Errorf("%T", doc.Err())
	}
}

// TestLargeFiles: the limits do not reach what somebody may have.
func TestLargeFiles(t *testing.T) {
	text := "users: {base: &base {soft: 1, hard: 2}}\nroutes:\n" +
		strings.Repeat("  # a camera\n  - path: /camera-with-a-long-name\n    port: 80\n    methods:\n      - GET\n      - POST\n", 10_000)
	var s server
	if err := Decode("large.yaml", []byte(text), env, &s).Err(); err != nil && !strings.Contains(err.Error(), "unknown key") {
		t.Errorf("%.500v", err)
	}
}
