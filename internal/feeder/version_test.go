package feeder

import (
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionIsTheTagOrWhatGoKnows(t *testing.T) {
	for name, test := range map[string]struct {
		linked, module string
		missing        bool
		want           string
	}{
		"release":        {linked: "v1.2.3", module: "v1.2.2", want: "v1.2.3"},
		"go install":     {module: "v1.2.2", want: "v1.2.2"},
		"work tree":      {module: "(devel)", want: "dev"},
		"without":        {want: "dev"},
		"not with 'go'":  {missing: true, want: "dev"},
		"linked, not go": {linked: "v1.2.3", missing: true, want: "v1.2.3"},
	} {
		t.Run(name, func(t *testing.T) {
			got := buildVersion(test.linked, func() (*debug.BuildInfo, bool) {
				return &debug.BuildInfo{Main: debug.Module{Version: test.module}}, !test.missing
			})
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestBuildsSetTheVersion: the linker ignores a variable that does not exist, so that
// a program built with a wrong name would not know its version.
func TestBuildsSetTheVersion(t *testing.T) {
	flag := "-X " + reflect.TypeFor[Feeder]().PkgPath() + ".linked="
	for _, file := range []string{"../../Makefile", "../../.ci/static.sh"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), flag) {
			t.Errorf("%s does not build with %s", file, flag)
		}
	}
}
