// Package depcheck holds the module to its import rules: imports follow the data,
// each large dependency has one importer, and OpenCV is needed by few.
//
// It has nothing to call; "go test ./internal/depcheck" names the imports that
// break a rule, and the rule.
package depcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/cvfeeder/cvfeeder"

// common are the packages that all packages of the module may import.
var common = []string{"internal/pacing", "internal/sanitize"}

// layers says which packages of the module each of its trees may import, apart
// from those in the tree itself and the common one. What is not listed, in cmd and
// internal, may import all of it but the adapters.
var layers = map[string][]string{
	"internal/pacing":   {},
	"internal/payloads": {},
	"internal/sanitize": {},
	"source":            {},
	"source/poll":       {"source"},
	"source/kinesis":    {"source", "source/poll"},
	"transform":         {"source"},
	"transform/opencv":  {"source", "transform"},
	"transform/gate":    {},
	"transform/quality": {},
	"publish":           {"source", "transform"},
	"publish/tensor":    {"source", "transform", "publish"},
	"publish/memory":    {"transform"},
	"metrics":           {"source", "transform", "publish", "internal/health", "internal/camerahealth", "transform/quality"},

	// It judges what others tell it.
	"internal/health":       {"source"},
	"internal/camerahealth": {"transform/quality"},

	// The pipeline knows the contracts, and nothing of polling or of a broker.
	"internal/pipeline": {"source", "transform", "transform/gate", "transform/quality", "publish", "internal/camerahealth"},

	"publish/consume":        {"transform", "publish", "publish/memory", "publish/tensor", "publish/nats/dial", "internal/payloads"},
	"publish/nats/dial":      {"publish", "internal/payloads"},
	"publish/nats/interest":  {"publish/nats/dial"},
	"publish/nats/handoff":   {"publish", "publish/nats/interest"},
	"publish/nats/deliver":   {"source", "transform", "publish", "publish/nats/dial", "publish/nats/interest"},
	"publish/nats/lease":     {"source", "publish/nats/dial"},
	"publish/nats/jobs":      {"publish/nats/dial"},
	"publish/nats/preflight": {"publish", "publish/consume", "publish/nats/dial", "publish/nats/interest", "publish/nats/deliver", "publish/nats/jobs", "publish/nats/lease"},
	"publish/nats/reply":     {"publish", "publish/nats/dial"},
	"publish/nats/frames":    {"source", "publish", "publish/nats/dial", "publish/nats/preflight", "publish/nats/reply"},
	"publish/nats/embedded":  {"publish", "publish/nats/dial"},

	// What tests share.
	"publish/publishtest":   {"source", "transform", "publish"},
	"publish/nats/natstest": {"publish/nats/embedded"},
	"publish/internal/conntest": {
		"source", "transform", "publish", "publish/consume",
		"publish/nats/dial", "publish/nats/preflight", "publish/nats/embedded", "publish/nats/natstest",
	},

	// A job knows neither the feeds of its streams nor who keeps its record.
	"internal/replay": {"source"},

	// It knows no key of the config file.
	"internal/config/strictyaml": {},
}

// pure are the packages that import nothing but the standard library and the
// module.
var pure = []string{"internal/pacing", "internal/sanitize", "internal/health", "source", "source/poll", "transform", "transform/gate", "transform/quality", "internal/camerahealth", "publish", "publish/tensor"}

// owners are the only importers of a dependency, with the packages below them.
var owners = map[string][]string{
	"github.com/aws/":                 {"source/kinesis"},
	"gocv.io/":                        {"transform/opencv"},
	"github.com/nats-io/":             {"publish/nats", "publish/consume", "publish/internal/conntest", "internal/feeder/feedertest"},
	"github.com/nats-io/nats-server/": {"publish/nats/embedded", "publish/nats/natstest", "publish/internal/conntest"},
	"go.opentelemetry.io/":            {"internal/tracing"},
	"github.com/goccy/":               {"internal/config/strictyaml"},
}

// composers are the packages that may import adapters, with those below them: they choose
// and connect them.
var composers = []string{"cmd/cvfeeder", "internal/feeder", "internal/preflight"}

// adapters are the packages that reach the world outside, with those below them. Besides
// the composers, only the packages listed may import them: the config has the defaults of
// NATS from where they apply, the cluster shares leases that are kept in NATS, the
// simulation runs the cluster, and the rest are readers.
var adapters = map[string][]string{
	"source/kinesis":   {"internal/simulate"}, // its limits
	"transform/opencv": nil,
	"publish/nats": {
		"internal/config", "internal/cluster", "internal/simulate", "publish/consume", "internal/tap", "publish/internal/conntest",
		"examples/consume-durable", "examples/consume-newest",
	},
}

// serverFree are the packages that link no NATS server, whatever they import: it would
// double the programs of those who import them.
var serverFree = []string{
	"publish/consume", "publish/nats/dial", "publish/nats/interest", "publish/nats/handoff", "publish/nats/deliver", "publish/nats/lease", "publish/nats/jobs", "publish/nats/reply", "publish/nats/frames", "publish/nats/preflight",
}

const natsServer = "github.com/nats-io/nats-server/"

// cgo is the only package of the module that is partly in C.
const cgo = "transform/opencv"

// native are the packages that may need OpenCV, and with it cgo, to build or to
// test.
var native = append([]string{cgo, "internal/feeder/replaycmd"}, composers...)

// A listed is what "go list -json" says of a package.
type listed struct {
	ImportPath string
	Standard   bool
	ForTest    string
	CgoFiles   []string
	Imports    []string
	Deps       []string
}

func TestImports(t *testing.T) {
	watch(t)
	packages := list(t)
	for _, problem := range check(packages) {
		t.Error(problem)
	}
	for tree := range layers {
		if packages[module+"/"+tree].ImportPath == "" {
			t.Errorf("the rules name the package %s, which does not exist", tree)
		}
	}
}

// watch makes "go test" run the test again when a source file has changed: it
// keeps the result of a test until something changes that the test itself has
// opened, and what "go list" opens does not count.
func watch(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == ".cache" || d.Name() == "bin") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// list returns the packages of the module with all that they and their tests
// depend on.
func list(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-test", "-tags", "gocv_specific_modules",
		"-json=ImportPath,Standard,ForTest,CgoFiles,Imports,Deps", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	packages := map[string]listed{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("%v: %v", cmd, err)
		}
		packages[p.ImportPath] = p
	}
}

// check returns what breaks a rule.
func check(packages map[string]listed) []string {
	var problems []string
	for _, p := range packages {
		name, ours := strings.CutPrefix(p.ImportPath, module+"/")
		if !ours {
			continue
		}
		// A package compiled for its tests is listed as "path [path.test]".
		name, _, _ = strings.Cut(name, " ")
		name = strings.TrimSuffix(strings.TrimSuffix(name, ".test"), "_test")
		if p.ForTest == "" && !strings.HasSuffix(p.ImportPath, ".test") {
			problems = append(problems, direction(name, p)...)
			problems = append(problems, ownership(name, p)...)
			problems = append(problems, composition(name, p)...)
			problems = append(problems, servers(name, p)...)
		}
		problems = append(problems, purity(name, p, packages)...)
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// direction checks the imports within the module, and that the pure packages have
// no others.
func direction(name string, p listed) []string {
	var problems []string
	tree, layered := treeOf(name)
	for _, imp := range p.Imports {
		target, ours := strings.CutPrefix(imp, module+"/")
		switch {
		case !ours && slices.Contains(pure, name) && strings.Contains(firstElement(imp), "."):
			problems = append(problems, fmt.Sprintf("%s imports %s: it may import the standard library only", name, imp))
		case ours && within(target, "cmd"):
			problems = append(problems, fmt.Sprintf("%s imports %s: nothing imports a command", name, target))
		case ours && layered && !mayImport(tree, target):
			problems = append(problems, fmt.Sprintf("%s imports %s: imports follow the data, and %s may import only %q", name, target, tree, layers[tree]))
		}
	}
	return problems
}

// mayImport tells whether a package of the tree may import the target. A parent
// does not import the adapters below it.
func mayImport(tree, target string) bool {
	targetTree, _ := treeOf(target)
	return targetTree == tree || slices.Contains(common, target) || slices.Contains(layers[tree], target)
}

// ownership checks that a dependency is imported by its owners only.
func ownership(name string, p listed) []string {
	var problems []string
	for _, imp := range p.Imports {
		for dependency, owners := range owners {
			owned := slices.ContainsFunc(owners, func(owner string) bool { return within(name, owner) })
			if strings.HasPrefix(imp, dependency) && !owned {
				problems = append(problems, fmt.Sprintf("%s imports %s: only %q may", name, imp, owners))
			}
		}
	}
	return problems
}

// composition checks that adapters are imported by composers only.
func composition(name string, p listed) []string {
	if slices.ContainsFunc(composers, func(composer string) bool { return within(name, composer) }) {
		return nil
	}
	var problems []string
	for _, imp := range p.Imports {
		target, _ := strings.CutPrefix(imp, module+"/")
		for adapter, others := range adapters {
			if within(target, adapter) && !within(name, adapter) && !slices.Contains(others, name) {
				problems = append(problems, fmt.Sprintf("%s imports %s: only %q may import adapters", name, target, composers))
			}
		}
	}
	return problems
}

// servers checks that a package which is to link no NATS server depends on none.
func servers(name string, p listed) []string {
	if !slices.Contains(serverFree, name) {
		return nil
	}
	for _, dep := range p.Deps {
		if strings.HasPrefix(dep, natsServer) {
			return []string{fmt.Sprintf("%s depends on %s: it may link no NATS server", name, dep)}
		}
	}
	return nil
}

// purity checks that a package and its tests build without cgo, and so without
// OpenCV.
func purity(name string, p listed, packages map[string]listed) []string {
	if len(p.CgoFiles) > 0 && name != cgo {
		return []string{fmt.Sprintf("%s uses cgo: only %s may", name, cgo)}
	}
	if slices.Contains(native, name) {
		return nil
	}
	for _, dep := range p.Deps {
		if d := packages[dep]; !d.Standard && len(d.CgoFiles) > 0 {
			return []string{fmt.Sprintf("%s or its tests depend on %s, which needs cgo: only %q may", name, dep, native)}
		}
	}
	return nil
}

// treeOf returns the longest tree of the layers that the package is in.
func treeOf(name string) (string, bool) {
	for path := name; path != "."; path = parent(path) {
		if _, ok := layers[path]; ok {
			return path, true
		}
	}
	return "", false
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return "."
}

func within(name, tree string) bool { return name == tree || strings.HasPrefix(name, tree+"/") }

func firstElement(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

// TestCheck shows that each rule finds what breaks it.
func TestCheck(t *testing.T) {
	const gocv = "gocv.io/x/gocv"
	for name, tc := range map[string]struct {
		pkg  listed
		want []string
	}{
		"fine":   {pkg: listed{ImportPath: module + "/publish", Imports: []string{"fmt", module + "/transform"}}},
		"common": {pkg: listed{ImportPath: module + "/source", Imports: []string{module + "/internal/pacing"}}},
		"common and layers": {
			listed{ImportPath: module + "/internal/pacing", Imports: []string{"golang.org/x/time/rate", module + "/source"}},
			[]string{
				`internal/pacing imports golang.org/x/time/rate: it may import the standard library only`,
				`internal/pacing imports source: imports follow the data, and internal/pacing may import only []`,
			},
		},
		"against the data": {
			listed{ImportPath: module + "/source", Imports: []string{module + "/transform"}},
			[]string{`source imports transform: imports follow the data, and source may import only []`},
		},
		"parent imports adapter": {
			listed{ImportPath: module + "/publish", Imports: []string{module + "/publish/nats/dial"}},
			[]string{
				`publish imports publish/nats/dial: imports follow the data, and publish may import only ["source" "transform"]`,
				`publish imports publish/nats/dial: only ["cmd/cvfeeder" "internal/feeder" "internal/preflight"] may import adapters`,
			},
		},
		"adapter imports internal": {
			listed{ImportPath: module + "/source/kinesis/kinesistest", Imports: []string{module + "/internal/config"}},
			[]string{`source/kinesis/kinesistest imports internal/config: imports follow the data, and source/kinesis may import only ["source" "source/poll"]`},
		},
		"not pure": {
			listed{ImportPath: module + "/transform", Imports: []string{"golang.org/x/image"}},
			[]string{"transform imports golang.org/x/image: it may import the standard library only"},
		},
		"imports a command": {
			listed{ImportPath: module + "/internal/pipeline", Imports: []string{module + "/cmd/cvfeeder"}},
			[]string{"internal/pipeline imports cmd/cvfeeder: nothing imports a command"},
		},
		"not the owner": {
			listed{ImportPath: module + "/metrics", Imports: []string{"github.com/nats-io/nats.go"}},
			[]string{`metrics imports github.com/nats-io/nats.go: only ["publish/nats" "publish/consume" "publish/internal/conntest" "internal/feeder/feedertest"] may`},
		},
		"links a server": {
			listed{ImportPath: module + "/publish/consume", Deps: []string{"github.com/nats-io/nats-server/v2/server"}},
			[]string{"publish/consume depends on github.com/nats-io/nats-server/v2/server: it may link no NATS server"},
		},
		"owner's child": {pkg: listed{ImportPath: module + "/source/kinesis/kinesistest", Imports: []string{"github.com/aws/smithy-go"}}},
		"imports an adapter": {
			listed{ImportPath: module + "/internal/web", Imports: []string{module + "/source/kinesis"}},
			[]string{`internal/web imports source/kinesis: only ["cmd/cvfeeder" "internal/feeder" "internal/preflight"] may import adapters`},
		},
		"composes": {pkg: listed{ImportPath: module + "/internal/feeder", Imports: []string{
			module + "/publish/nats/dial", module + "/source/kinesis/kinesistest", module + "/transform/opencv",
		}}},
		"own cgo": {
			listed{ImportPath: module + "/metrics", CgoFiles: []string{"a.go"}},
			[]string{"metrics uses cgo: only transform/opencv may"},
		},
		"test needs OpenCV": {
			listed{ImportPath: module + "/metrics_test [" + module + "/metrics.test]", ForTest: module + "/metrics", Deps: []string{gocv}},
			[]string{`metrics or its tests depend on gocv.io/x/gocv, which needs cgo: only ["transform/opencv" "internal/feeder/replaycmd" "cmd/cvfeeder" "internal/feeder" "internal/preflight"] may`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := check(map[string]listed{
				tc.pkg.ImportPath: tc.pkg,
				gocv:              {ImportPath: gocv, CgoFiles: []string{"core.go"}},
			})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
