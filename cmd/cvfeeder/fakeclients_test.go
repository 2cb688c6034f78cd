package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// fakeExamples are the programs of docs/fake.md.
const fakeExamples = "../../examples/fake"

// fakeClients returns the directory in which "make test" has installed the clients.
func fakeClients(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CVFEEDER_FAKE_CLIENTS")
	if dir == "" {
		t.Skip("CVFEEDER_FAKE_CLIENTS does not name a directory with the AWS CLI and SDK: `make test` makes one")
	}
	return dir
}

// python returns a Python with boto3 and pytest.
func python(t *testing.T) string {
	t.Helper()
	name := os.Getenv("CVFEEDER_PYTHON")
	if name == "" {
		t.Skip("CVFEEDER_PYTHON does not name a Python with boto3 and pytest: `make test` makes one")
	}
	return name
}

// aClient is a program that prints a line for each image of cam-1: its time, and the
// beginning of its content in Base64 or its error.
type aClient struct {
	name string
	args func(t *testing.T, dir string) []string
}

func theClients() []aClient {
	return []aClient{
		{"boto3", func(t *testing.T, _ string) []string {
			t.Helper()
			return []string{python(t), filepath.Join(fakeExamples, "images.py")}
		}},
		{"JavaScript", func(t *testing.T, dir string) []string {
			t.Helper()
			node, err := exec.LookPath("node")
			if err != nil {
				t.Skip("there is no node")
			}
			modules := filepath.Join(fakeClients(t), "node_modules")
			if _, err := os.Stat(modules); err != nil {
				t.Skip("there was no npm to install the AWS SDK with")
			}
			script := filepath.Join(dir, "images.mjs") // which looks for modules beside itself
			text, err := os.ReadFile(filepath.Join(fakeExamples, "images.mjs"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(script, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
			return []string{node, "--no-warnings", script}
		}},
		{"CLI", func(t *testing.T, _ string) []string {
			t.Helper()
			t.Setenv("PATH", filepath.Join(fakeClients(t), "bin")+":"+os.Getenv("PATH"))
			return []string{"sh", filepath.Join(fakeExamples, "images.sh")}
		}},
	}
}

// runClient runs a client against a fake service with these faults, and returns what it
// printed, and the pictures that the service made for it.
func runClient(t *testing.T, c aClient, faults kinesistest.Faults) (out string, made int, err error) {
	t.Helper()
	args := append(c.args(t, t.TempDir()), "cam-1")
	srv, err := kinesistest.New(kinesistest.Options{Scene: feedertest.Grey{}, Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := srv.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = endpoint.Close() }()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint.URL, "AWS_REGION": kinesistest.Region, "AWS_DEFAULT_REGION": kinesistest.Region,
		"AWS_ACCESS_KEY_ID": kinesistest.AccessKey, "AWS_SECRET_ACCESS_KEY": kinesistest.SecretKey,
		"AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	text, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	for _, r := range srv.Requests() {
		made += len(r.Images)
	}
	return string(text), made, err
}

// TestClientsOfTheFake runs the programs of docs/fake.md as they are there.
func TestClientsOfTheFake(t *testing.T) {
	for _, c := range theClients() {
		t.Run(c.name, func(t *testing.T) {
			out, made, err := runClient(t, c, kinesistest.Faults{})
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			// A picture of each second but those of the fragment that runs when the window opens.
			if pictures := strings.Count(out, "/9j/"); pictures != made || pictures < 6 || strings.Count(out, "\n") < 10 {
				t.Errorf("it got %d pictures of the %d that were made:\n%s", pictures, made, out)
			}
			out, _, err = runClient(t, c, kinesistest.Faults{Errors: 1})
			if err == nil || strings.Contains(out, "/9j/") {
				t.Errorf("a service that only fails: %v\n%s", err, out)
			}
		})
	}
}

// TestPytestFixture runs the fixture of docs/fake.md, which starts the program.
func TestPytestFixture(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), python(t), "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_camera.py")
	cmd.Dir = fakeExamples
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "1 passed") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestFakePageShowsItsExamples: what the tests run is what the page shows.
func TestFakePageShowsItsExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/fake.md")
	if err != nil {
		t.Fatal(err)
	}
	for file, language := range map[string]string{"images.py": "python", "images.mjs": "js", "images.sh": "bash", "test_camera.py": "python"} {
		text, err := os.ReadFile(filepath.Join(fakeExamples, file))
		if err != nil {
			t.Fatal(err)
		}
		if block := fmt.Sprintf("```%s\n%s```", language, text); !strings.Contains(string(page), block) {
			t.Errorf("docs/fake.md does not show examples/fake/%s unchanged", file)
		}
	}
	lists := regexp.MustCompile("(?m)^\\| .* \\| `(.+)` \\|$").FindAllStringSubmatch(string(page), -1)
	for _, list := range lists {
		if _, err := kinesistest.ParseFaults(list[1]); err != nil {
			t.Errorf("docs/fake.md, %s: %v", list[1], err)
		}
	}
	if len(lists) < 8 {
		t.Errorf("docs/fake.md has only %d lists of faults", len(lists))
	}
}
