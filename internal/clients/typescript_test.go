package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/transform"
)

const typescript = "../../clients/typescript"

// TestTypeScriptClient needs Node and the packages in clients/typescript/package-lock.json.
func TestTypeScriptClient(t *testing.T) {
	dir := buildTypeScript(t)
	t.Run("own tests", func(t *testing.T) { runTypeScriptTests(t, dir) })
	t.Run("package", func(t *testing.T) { usePackage(t, dir) })
	t.Run("credentials", func(t *testing.T) { signIn(t, dir) })
	t.Run("browser", func(t *testing.T) { readInBrowser(t, dir) })
}

func runTypeScriptTests(t *testing.T, dir string) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tests, err := filepath.Glob(filepath.Join(dir, "build", "test", "*.test.js"))
	if err != nil || len(tests) == 0 {
		t.Fatalf("%d tests: %v", len(tests), err)
	}
	cases, err := filepath.Abs(filepath.Join(conformanceDir, "cases"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "node", append([]string{"--test", "--test-reporter=spec", "--test-timeout=60000"}, tests...)...)
	cmd.Dir = dir
	// Node ends the processes of its tests only if it is asked to end itself.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	passed := filepath.Join(t.TempDir(), "passed")
	f, env := serve(ctx, t)
	f.serveFrames()
	cmd.Env = append(env, "CVFEEDER_CONFORMANCE="+cases, "CVFEEDER_PASSED="+passed)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	checkConformance(t, "TypeScript", passed)
}

// signIn lets the client read as a user whose credentials are a JWT and a key, and who may
// subscribe to tensors only.
func signIn(t *testing.T, dir string) {
	op := natstest.NewOperator(t)
	creds := func(name string, limit func(*jwt.UserClaims)) string {
		return natstest.WriteFile(t, filepath.Join(t.TempDir(), name+".creds"), op.Creds(t, name, limit))
	}
	nc, err := nats.Connect(op.URL, nats.UserCredentials(creds("feeder", func(*jwt.UserClaims) {})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	const program = `
import { latest } from "cvfeeder";
const [servers, credentialsFile] = process.argv.slice(2);
const t = await latest("cvf.t.>", { servers, credentialsFile, timeout: 30000 });
console.log(t.stream, t.shape.join());
`
	file := natstest.WriteFile(t, filepath.Join(dir, "signin.mjs"), []byte(program))
	reader := creds("reader", func(c *jwt.UserClaims) { c.Sub.Allow.Add("cvf.t.>") })
	m := example("cam-1", transform.Float32)
	var publishing sync.WaitGroup
	read := make(chan struct{})
	defer publishing.Wait()
	defer close(read)
	publishing.Go(func() {
		for {
			select {
			case <-read:
				return
			case <-time.After(100 * time.Millisecond):
				_ = nc.PublishMsg(&nats.Msg{Subject: m.Subject, Header: nats.Header(m.Header), Data: m.Data})
			}
		}
	})
	if got := run(t, dir, "node", file, op.URL, reader); got != "cam-1 1,3,1,2\n" {
		t.Errorf("the reader has %q", got)
	}
}

// usePackage packs the package as it would be published, and compiles the programs of its
// README against it, with all checks and without Node's types.
func usePackage(t *testing.T, dir string) {
	var packed []struct {
		Filename string
		Files    []struct{ Path string }
	}
	if err := json.Unmarshal([]byte(run(t, dir, "npm", "pack", "--json", "--ignore-scripts")), &packed); err != nil || len(packed) != 1 {
		t.Fatalf("%d packages: %v", len(packed), err)
	}
	var files []string
	for _, f := range packed[0].Files {
		files = append(files, f.Path)
	}
	for _, want := range []string{"LICENSE", "README.md", "CHANGELOG.md", "dist/index.js", "dist/index.d.ts", "dist/cvfeeder.browser.js"} {
		if !slices.Contains(files, want) {
			t.Errorf("the package has no %s: %v", want, files)
		}
	}
	user := t.TempDir()
	modules := filepath.Join(user, "node_modules")
	if err := os.MkdirAll(filepath.Join(modules, "cvfeeder"), 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, user, "tar", "-xzf", filepath.Join(dir, packed[0].Filename), "-C", filepath.Join(modules, "cvfeeder"), "--strip-components=1")
	for _, name := range []string{"@nats-io", "tweetnacl"} {
		if err := os.Symlink(filepath.Join(os.Getenv("CVFEEDER_NODE_MODULES"), name), filepath.Join(modules, name)); err != nil {
			t.Fatal(err)
		}
	}
	readme, err := os.ReadFile(filepath.Join(typescript, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	programs := regexp.MustCompile("(?s)```ts\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(programs) != 3 {
		t.Fatalf("the README has %d programs in TypeScript, want 3", len(programs))
	}
	args := []string{"--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom,esnext.disposable", "--types", ""}
	for i, p := range programs {
		name := fmt.Sprintf("program%d.mts", i)
		if err := os.WriteFile(filepath.Join(user, name), p[1], 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	run(t, user, filepath.Join(dir, "node_modules", ".bin", "tsc"), args...)
	const load = `import("cvfeeder").then((m) => console.log(Object.keys(m).join()))`
	if got := run(t, user, "node", "-e", load); !strings.Contains(got, "subscribe") {
		t.Errorf("the package exports %s", got)
	}
}

// buildTypeScript builds the package and its tests in a directory of its own, and returns that.
func buildTypeScript(t *testing.T) string {
	t.Helper()
	modules := os.Getenv("CVFEEDER_NODE_MODULES")
	if modules == "" {
		t.Skip("CVFEEDER_NODE_MODULES does not name the folder of the client's npm packages: `make test` makes one, where Node is installed")
	}
	watch(t, typescript)
	dir := t.TempDir()
	for _, name := range []string{"src", "test"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(typescript, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"package.json", "tsconfig.json", "tsconfig.build.json", "README.md", "CHANGELOG.md", "LICENSE"} {
		data, err := os.ReadFile(filepath.Join(typescript, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "npm", "run", "--silent", "build")
	run(t, dir, filepath.Join(modules, ".bin", "tsc"))
	return dir
}

// run runs a program in a directory, and returns what it prints.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd, err, out, &stderr)
	}
	return string(out)
}
