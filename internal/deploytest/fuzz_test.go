package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOSSFuzzBuildsAllTargets runs .ci/oss-fuzz.sh with a stand-in for the image's program,
// and with a pkg-config that has every library.
func TestOSSFuzzBuildsAllTargets(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "compile_native_go_fuzzer_v2"), 0o700, "#!/bin/sh\necho \"$@\"\n")
	write(t, filepath.Join(dir, "pkg-config"), 0o700, "#!/bin/sh\n")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))

	var want []string
	function := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	files(t, "*_test.go", func(path, text string) {
		rel, err := filepath.Rel(top, filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range function.FindAllStringSubmatch(text, -1) {
			want = append(want, "github.com/cvfeeder/cvfeeder/"+rel+" "+m[1]+" "+strings.ReplaceAll(rel, "/", "_")+"_"+m[1])
		}
	})
	got := strings.Split(strings.TrimSpace(string(command(t, nil, filepath.Join(top, ".ci/oss-fuzz.sh")))), "\n")
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fuzz targets that are built (-want +got):\n%s", diff)
	}
	// The image's program looks for "func NAME" in the package and all below it, and
	// builds nothing unless it finds exactly one.
	for _, target := range want {
		fields := strings.Fields(target)
		for _, other := range want {
			f := strings.Fields(other)
			if below := f[0] == fields[0] || strings.HasPrefix(f[0], fields[0]+"/"); below && target != other && strings.HasPrefix(f[1], fields[1]) {
				t.Errorf("%s is not built, because %s is below it and has a name that begins with the same: rename one", target, other)
			}
		}
	}
}
