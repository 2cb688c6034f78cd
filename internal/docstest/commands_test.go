package docstest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
)

// A block is a block of code of a document.
type block struct {
	language, text string
	before         string // the text since the last block
}

func blocks(text string) []block {
	var all []block
	end := 0
	for _, m := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatchIndex(text, -1) {
		all = append(all, block{text[m[2]:m[3]], text[m[4]:m[5]], text[end:m[0]]})
		end = m[1]
	}
	return all
}

// notRun has what the commands begin with that no test here runs, and why.
var notRun = map[string]string{
	"bin/cvfeeder replay ": "cmd/cvfeeder runs replays, and kills them",
	"bin/cvfeeder jobs ":   "so it does jobs",
	"make ":                "TestMakeTargets looks whether there is such a target; the CI, or whoever needs them, runs them",
	"git clone ":           "the tests run in a clone",
	"cd cvfeeder":          "the tests are there",
	"aws ":                 "there is no account; TestAWSCommands compares them with the model of the service",
	"gst-launch-1.0 ":      "kvssink has to be built, and sends to AWS",
	"docker ":              "needs a container engine; internal/deploytest checks the files, make image-test the image",
	"kubectl ":             "needs a cluster; make k8s-test applies the manifests in one",
	"nats ":                "the nats command is in no package; TestPythonAsksForAFrame makes the same requests",
	"prometheus-nats-":     "no registry that the tests may use has it; make dashboards-look runs it where it is installed",
	"minisign ":            "needs a release; internal/provenance tests it",
	"cosign ":              "needs a release, and a program that is in no package",
	"sha256sum ":           "needs a release",
	"go test ":             "make test runs all tests",
	"python examples/":     "make examples runs them",
	"mkdir examples/":      "make examples makes the same directory",
	"OTEL_EXPORTER_":       "internal/tracing exports to a collector of its own",
	"helm ":                "needs a cluster; make k8s-test installs the chart in one",

	"cd examples/consume-rust":        "make rust builds it in a cache, and tests it",
	"g++ ":                            "TestCppExample compiles the example with a sanitizer, and tests it",
	"apt-get install g++ libnats-dev": ".ci/deps.sh test installs them",
}

// elsewhere has the documents whose commands a test of another package runs.
var elsewhere = map[string]string{
	"docs/fake.md":    "TestClientsOfTheFake and TestPytestFixture in cmd/cvfeeder",
	"docs/runbook.md": "TestDrill in cmd/cvfeeder",
}

// background has what the commands begin with that go on until something is stopped.
var background = []string{"bin/cvfeeder demo", "bin/cvfeeder run", "bin/cvfeeder fake"}

// A manual is a document, or several, whose commands are run in their order, as a reader
// would.
type manual struct {
	files []string
	// demo says that they assume one that runs.
	demo bool
	// python is what its blocks in Python, which are programs that end, have to print; ""
	// for none.
	python string
	// replace has what is different here from what its readers have: pairs of old and new.
	replace []string
	// skip has the commands that need something else, and why.
	skip map[string]string
	want []string // what has to be printed
}

var manuals = []manual{
	{files: []string{"docs/tutorial.md"}, python: `^cam-\d \d{4}-\d\d-\d\d .* \(1, 3, 640, 640\) \[\[`, want: []string{
		`^cvf.t.cam-\d.(detector|classifier) `, `^cam-\d.(detector|classifier).*\.npy$`, `^ready$`, `cvfeeder_slots_total\{outcome="published",stream="cam-2"\} [1-9]`,
		`to NATS`, `cvf.t.cam-3.classifier .* float32 1x3x224x224`, `cvf.t.cam-3.detector .* float16 `,
	}},
	{files: []string{"docs/quickstart-aws.md"}, replace: []string{
		"front-door", "cam-1", "eu-west-1", "us-east-1", // the fake's streams and its region
		"AKIA...", "test", "SECRET_ACCESS_KEY=...", "SECRET_ACCESS_KEY=test",
		"--connect", "--connect --measure 0", // which takes a minute
		"--count 10", "--count 3", "init --yes", "init --yes --force", // there is one for the other documents
	}, want: []string{`ok +stream cam-1`, `images +[0-9.]+ to [0-9.]+ million a month`, `cvf.t.cam-1.detector `}},
	{files: []string{"docs/fake.md"}}, // cmd/cvfeeder runs its programs
	{files: []string{"examples/README.md"}, replace: []string{
		// The keys are set, and the state must not be that of another run.
		"AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test bin/cvfeeder run -c examples/consume-durable/cvfeeder.yaml",
		"sed 's|/tmp/cvfeeder-example|state|' examples/consume-durable/cvfeeder.yaml >durable.yaml\nbin/cvfeeder run -c durable.yaml",
		"go run ./examples/", "some bin/", // without a network, Go may not find the modules
	}, want: []string{`^cam-\d: \[1 3 640 640\], \d+\.\d s old, found`, `^cam-\d \d\d:\d\d:\d\d\.000 float32 \[1 3 640 640\]`}},
	{
		// The recipes come last: one of them starts a demo with faults.
		files: []string{"README.md", "docs/troubleshooting.md", "docs/status.md", "docs/configuration.md", "docs/howto.md"}, demo: true,
		replace: []string{
			"--connect", "--connect --measure 0", // which takes a minute
			"cvfeeder schema", "bin/cvfeeder schema",
			"--count 20", "--count 3",
		}, skip: map[string]string{
			"bin/cvfeeder run -c cvfeeder.yaml": "the same as in the tutorial, where it is run",
		}, want: []string{
			`^ready$`, `cvf.t.cam-`, `ok +stream cam-1`, `cvfeeder_overlap_seconds\{stream="cam-1"\}`, `outcome="media_error"`,
			`cvfeeder_cpu_lacking_ratio`, `STATE +STREAM`, `"cam-1"`, `cvfeeder_build_info`,
		},
	},
}

// prelude begins a script of commands. The namespace has no network but its own loopback
// device, so all commands have the ports that the manual names.
const prelude = `set -euo pipefail
ip link set lo up
export AWS_ENDPOINT_URL=http://127.0.0.1:9178 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
exec 2>&1
running=
await() { for _ in {1..600}; do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.1; done; echo "not within a minute: $*"; cat *.log; exit 1; }
start() {
	if [[ $2 == fake ]]; then "$@" >fake.log 2>&1 & await curl -s http://127.0.0.1:9178/; return; fi
	[[ -z $running ]] || { kill -INT $running; wait $running || true; }
	"$@" >run.log 2>&1 & running=$!
	await curl -sf http://127.0.0.1:9177/readyz
}
# Runs a program that goes on until it is stopped, for three lines.
some() { "$@" >some.log 2>&1 & local pid=$!; await three; kill -INT $pid; cat some.log; }
three() { [[ $(wc -l <some.log) -ge 3 ]]; }
`

// script returns the shell script of a manual.
func script(t *testing.T, m manual) string {
	t.Helper()
	var text string
	for _, file := range m.files {
		text += read(t, filepath.Join(root, file))
	}
	text = strings.NewReplacer(append(slices.Clone(m.replace), "/tmp/seen", "seen")...).Replace(text)
	var b strings.Builder
	b.WriteString(prelude)
	fakeRuns := strings.Contains(text, "bin/cvfeeder fake")
	if !fakeRuns {
		b.WriteString("start bin/cvfeeder fake\n")
	}
	if m.demo {
		b.WriteString("start bin/cvfeeder demo --streams 2\n")
	}
	saved := regexp.MustCompile("(?s)Save (?:this|it) as `([\\w.-]+)`[^`]*$")
	for _, block := range blocks(text) {
		if name := saved.FindStringSubmatch(block.before); name != nil {
			fmt.Fprintf(&b, "cat >%s <<'END'\n%sEND\n", name[1], block.text)
		}
		if python := os.Getenv("CVFEEDER_PYTHON"); block.language == "python" && m.python != "" && python != "" {
			fmt.Fprintf(&b, "cat >block.py <<'END'\n%sEND\ntimeout 60 %s block.py\n", block.text, python)
		}
		if block.language != "sh" {
			continue
		}
		for command := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSpace(block.text), "\\\n", " "), "\n") {
			if why, ok := skipped(m, command); ok {
				t.Logf("not run: %s: %s", command, why)
				continue
			}
			if slices.ContainsFunc(background, func(p string) bool { return strings.HasPrefix(command, p) }) {
				command = "start " + command
			}
			fmt.Fprintf(&b, "echo; echo %q\n%s\n", "$ "+command, command)
		}
	}
	return b.String()
}

// skipped returns why a command is not run.
func skipped(m manual, command string) (why string, ok bool) {
	for _, table := range []map[string]string{notRun, m.skip} {
		for prefix, why := range table {
			if strings.HasPrefix(command, prefix) {
				return why, true
			}
		}
	}
	return "", false
}

// programs builds cvfeeder and the examples in Go, once for all tests, and returns their
// directory.
var programs = sync.OnceValues(func() (string, error) {
	dir := programsDir()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-tags", "gocv_specific_modules", "-o", dir, "./cmd/cvfeeder", "./examples/consume-durable", "./examples/consume-newest")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
})

// programsDir is removed by TestMain.
func programsDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("docstest-%d", os.Getpid()))
}

// bin returns the directory of the programs. It looks at their sources, so that "go test"
// runs the test again when one has changed.
func bin(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"cmd", "internal", "metrics", "publish", "source", "transform", "examples"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// apart are the options of unshare for a network of one's own, and for processes that end with
// the first of them.
var apart = []string{"--map-root-user", "--net", "--pid", "--fork", "--kill-child"}

// TestCommands runs the commands of the manual in their order, each document in a network
// namespace of its own. So each does what it says with the ports that it names.
func TestCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a minute")
	}
	if out, err := exec.Command("unshare", append(slices.Clone(apart), "ip", "link", "set", "lo", "up")...).CombinedOutput(); err != nil {
		t.Skipf("there are no namespaces for this user: %v %s", err, out)
	}
	dir := bin(t)
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manuals {
		t.Run(filepath.Base(m.files[len(m.files)-1]), func(t *testing.T) {
			t.Parallel()
			here := t.TempDir()
			for name, data := range map[string]string{
				"commands.sh":   script(t, m),
				"cvfeeder.yaml": "aws: {region: us-east-1}\nstreams: [{name: cam-1, outputs: [detector]}]\noutputs: {detector: {preset: yolo}}\n",
			} {
				if err := os.WriteFile(filepath.Join(here, name), []byte(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for name, target := range map[string]string{"bin": dir, "examples": top + "/examples", "client": top + "/clients/python/src", "photo.jpg": photo(t)} {
				if err := os.Symlink(target, filepath.Join(here, name)); err != nil {
					t.Fatal(err)
				}
			}
			out := namespaced(t, here)
			wanted := m.want
			if m.python != "" && os.Getenv("CVFEEDER_PYTHON") != "" {
				wanted = append(wanted, m.python)
			}
			for _, want := range wanted {
				if !regexp.MustCompile("(?m)" + want).MatchString(out) {
					t.Errorf("nothing that was printed matches %q", want)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// namespaced runs commands.sh of a directory in namespaces of its own, and returns what it
// printed.
func namespaced(t *testing.T, dir string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", append(slices.Clone(apart), "bash", "commands.sh")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+filepath.Join(dir, "client"))
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%v", err)
	}
	return out.String()
}

// photo returns the path of a JPEG among the test data of the decoders.
func photo(t *testing.T) string {
	t.Helper()
	all, err := filepath.Glob(root + "/transform/opencv/testdata/pictures/*.jpg")
	if err != nil || len(all) == 0 {
		t.Fatal(err, "there is no photo")
	}
	path, err := filepath.Abs(all[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// everywhere returns the documents that name commands.
func everywhere(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, file := range append(files, readme, root+"/examples/README.md", root+"/CONTRIBUTING.md", root+"/clients/python/README.md") {
		all[file] = read(t, file)
	}
	return all
}

// TestEveryCommandIsKnown: each command of the manual is run, or the table says why not.
func TestEveryCommandIsKnown(t *testing.T) {
	for file, text := range everywhere(t) {
		if elsewhere[strings.TrimPrefix(file, root+"/")] != "" {
			continue
		}
		i := slices.IndexFunc(manuals, func(m manual) bool {
			return slices.ContainsFunc(m.files, func(f string) bool { return filepath.Join(root, f) == filepath.Clean(file) })
		})
		for _, block := range blocks(text) {
			if block.language != "sh" || i >= 0 {
				continue // TestCommands runs it
			}
			for command := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSpace(block.text), "\\\n", " "), "\n") {
				known := strings.HasPrefix(command, "pip install ./clients/python") // internal/pyclient installs the package
				if _, ok := skipped(manual{}, command); !ok && !known {
					t.Errorf("%s: no test runs %q: add the document to manuals, or the command to notRun with the reason", file, command)
				}
			}
		}
	}
}

// TestFlags: the flags of cvfeeder's commands that the manual names exist.
func TestFlags(t *testing.T) {
	path := filepath.Join(bin(t), "cvfeeder")
	help := map[string]string{}
	mention := regexp.MustCompile("cvfeeder ([a-z]+)((?: [^`\n#]*)?)")
	flag := regexp.MustCompile(`--[a-z][a-z-]*`)
	seen := 0
	for file, text := range everywhere(t) {
		for _, m := range mention.FindAllStringSubmatch(text, -1) {
			for _, name := range flag.FindAllString(m[2], -1) {
				if _, ok := help[m[1]]; !ok {
					out, err := exec.CommandContext(t.Context(), path, m[1], "--help").CombinedOutput()
					if err != nil {
						t.Errorf("%s: cvfeeder %s: %s", file, m[1], out)
					}
					help[m[1]] = string(out)
				}
				seen++
				if !strings.Contains(help[m[1]], name+" ") && !strings.Contains(help[m[1]], name+"\n") {
					t.Errorf("%s: cvfeeder %s has no flag %s", file, m[1], name)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d flags were found", seen)
	}
}

// TestMakeTargets: the targets that the manual names exist.
func TestMakeTargets(t *testing.T) {
	makefile := read(t, root+"/Makefile")
	seen := 0
	for file, text := range everywhere(t) {
		for _, m := range regexp.MustCompile("(?m)(?:`|^)make ([a-z0-9-]+)").FindAllStringSubmatch(text, -1) {
			seen++
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
				t.Errorf("%s: the Makefile has no target %s", file, m[1])
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d targets were found", seen)
	}
}

// TestConfigs: every config of the manual is accepted. Parts of one are completed first.
func TestConfigs(t *testing.T) {
	seen := 0
	for file, text := range everywhere(t) {
		for _, block := range blocks(text) {
			chart := strings.HasPrefix(block.text, "# values.yaml\n") || strings.HasPrefix(block.text, "# templates/")
			if block.language != "yaml" || chart || strings.HasPrefix(block.text, "spec:\n") || strings.Contains(block.text, "scrape_configs:") || strings.Contains(block.text, "yaml-language-server") {
				continue // the chart's, which internal/deploytest renders; a pod's; Prometheus' own; and the beginning of a file
			}
			seen++
			whole := block.text
			if !strings.Contains(whole, "streams:") {
				whole += "streams: [{name: front-door, outputs: [detector]}]\n"
			}
			if !regexp.MustCompile(`(?m)^outputs:`).MatchString(whole) {
				whole += "outputs: {detector: {preset: yolo}}\n"
			}
			if _, err := config.Parse("block.yaml", []byte(whole), func(string) (string, bool) { return "", false }); err != nil {
				t.Errorf("%s: %v\n%s", file, err, whole)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d configs were found", seen)
	}
}

// awsCheck reads commands of the AWS CLI, one a line, and checks operations and parameters
// against the models in botocore, from which the CLI is made.
const awsCheck = `
import shlex, sys, botocore.session
from botocore import xform_name
session = botocore.session.get_session()
count = 0
for line in sys.stdin:
    words = shlex.split(line)
    service = session.get_service_model(words[1])
    commands = {xform_name(o, "-"): service.operation_model(o) for o in service.operation_names}
    shape = commands[words[2]].input_shape
    members = {xform_name(m, "-"): m for m in shape.members}
    given = {w[2:] for w in words[3:] if w.startswith("--")} - {"query", "output"}
    unknown = given - members.keys()
    missing = {m for m, name in members.items() if name in shape.required_members} - given
    assert not unknown and not missing, (line, unknown, missing)
    count += 1
print(count)
`

// TestAWSCommands: the commands of the AWS CLI exist, with the parameters that they need.
func TestAWSCommands(t *testing.T) {
	python := os.Getenv("CVFEEDER_PYTHON")
	if python == "" {
		t.Skip("CVFEEDER_PYTHON does not name a Python with botocore: `make test` makes one")
	}
	var commands []string
	for _, block := range blocks(read(t, root+"/docs/quickstart-aws.md")) {
		if block.language != "sh" {
			continue
		}
		for line := range strings.Lines(block.text) {
			if !strings.HasPrefix(line, "aws ") {
				continue
			}
			// What is between "$(" and ")" and behind "xargs -n1" are commands of their own.
			inner := regexp.MustCompile(`"\$\((aws [^)]*)\)"`)
			for _, m := range inner.FindAllStringSubmatch(line, -1) {
				commands = append(commands, m[1])
			}
			first, second, piped := strings.Cut(strings.TrimSpace(inner.ReplaceAllString(line, "ARN")), " | xargs -n1 ")
			commands = append(commands, first)
			if piped {
				commands = append(commands, second+" KEY")
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", awsCheck)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n"))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(len(commands)) || len(commands) < 8 {
		t.Errorf("%d commands: %v\n%s", len(commands), err, out)
	}
}

// TestQuickstartPolicy: the quickstart has the policy of docs/security.md.
func TestQuickstartPolicy(t *testing.T) {
	policy := func(file string) string {
		_, text, _ := strings.Cut(read(t, root+file), "```json\n")
		text, _, _ = strings.Cut(text, "```")
		return text
	}
	if a, b := policy("/docs/quickstart-aws.md"), policy("/docs/security.md"); a != b {
		t.Errorf("the quickstart has\n%s\nand docs/security.md\n%s", a, b)
	}
}
