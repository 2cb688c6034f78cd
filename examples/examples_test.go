// Package examples has programs to start from. Its tests run them as their users do.
package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	_ "image/jpeg"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// program is cvfeeder, which is built once for all tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cvfeeder")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "cvfeeder")
	out, err := exec.Command("go", "build", "-tags", "gocv_specific_modules", "-o", path, "../cmd/cvfeeder").CombinedOutput()
	if err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv(environment) != "" {
		if path, err := program(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// environment names the directory that `make examples` fills: the Python packages and the
// videos.
const environment = "CVFEEDER_EXAMPLES"

func directory(t *testing.T) string {
	t.Helper()
	dir := os.Getenv(environment)
	if dir == "" {
		t.Skip(environment + " does not name the directory with the Python packages and videos: `make examples` makes one")
	}
	// "go test" runs the test again when one of these has changed.
	for _, dir := range []string{".", "../clients/python/src", "../cmd", "../internal", "../metrics", "../publish", "../source", "../transform"} {
		if err := filepath.WalkDir(dir, func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run runs an example against a demo of its own, and returns what it printed and the
// directory with what it made.
func run(t *testing.T, environ []string, args ...string) (output, made string) {
	t.Helper()
	dir := directory(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	made = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "./run.sh", args...)
	cmd.Env = append(os.Environ(), environment+"="+dir, "CVFEEDER_PROGRAM="+path, "CVFEEDER_OUT="+made)
	cmd.Env = append(cmd.Env, environ...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var out, problems bytes.Buffer // the latter has warnings, too, if the machine is busy
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("run.sh %s: %v\n%s%s", strings.Join(args, " "), err, &out, &problems)
	}
	return out.String(), made
}

// hasPicture fails the test unless the file is a picture of this size.
func hasPicture(t *testing.T, path string, size image.Point) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	picture, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil || image.Pt(picture.Width, picture.Height) != size {
		t.Errorf("%s: %v, %dx%d", path, err, picture.Width, picture.Height)
	}
}

// face matches what is printed of the face in the video, whose box is where the face is: it
// moves up and down with the picture.
var face = regexp.MustCompile(`face 0\.[5-9]\d at \[(3[89]|4[0-9])\d, \d+, (6[0-9])\d, \d+\]`)

func TestDetect(t *testing.T) { findsFaces(t, "detect") }

func TestTriton(t *testing.T) { findsFaces(t, "triton") }

// findsFaces runs an example for two frames, in each of which it finds the face.
func findsFaces(t *testing.T, example string) {
	t.Helper()
	t.Parallel()
	out, made := run(t, nil, example, "--count", "2")
	if got := len(face.FindAllString(out, -1)); got != 2 {
		t.Errorf("%d faces were found in 2 frames:\n%s", got, out)
	}
	hasPicture(t, filepath.Join(made, "cam-1.jpg"), image.Pt(1280, 720))
}

// TestAlert: there is an alert for people who walk in a street, which is posted too.
func TestAlert(t *testing.T) {
	t.Parallel()
	posted := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posted <- string(body)
	}))
	defer hook.Close()
	out, _ := run(t, nil, "alert", "--alerts", "1", "--post", hook.URL)
	line, _, _ := strings.Cut(out, "\n")
	var alert struct {
		Camera  string
		Time    time.Time
		Boxes   [][]float64
		Picture string
	}
	if err := json.Unmarshal([]byte(line), &alert); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if alert.Camera != "cam-1" || time.Since(alert.Time) > 5*time.Minute || len(alert.Boxes) == 0 {
		t.Errorf("%+v", alert)
	}
	hasPicture(t, alert.Picture, image.Pt(768, 576))
	select {
	case got := <-posted:
		if got != line {
			t.Errorf("posted %s, printed %s", got, line)
		}
	default:
		t.Error("the alert was not posted")
	}
}

// TestNoAlert: there is none for a portrait, in which nobody stands or walks.
func TestNoAlert(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	out, _ := run(t, []string{"CVFEEDER_VIDEO=" + filepath.Join(dir, "portrait.avi")}, "alert", "--frames", "6")
	if !strings.HasPrefix(out, "6 frames, 0 alerts\n") {
		t.Error(out)
	}
}

// TestSearch: the video repeats itself every minute, so the frames that look most like a
// given one are whole minutes older.
func TestSearch(t *testing.T) {
	t.Parallel()
	out, made := run(t, nil, "search")
	alike := regexp.MustCompile(`(?m)^  (0\.99|1\.00)\d  \S+  (60|120|180|240|300)\.0 s before$`)
	if got := len(alike.FindAllString(out, -1)); got != 3 {
		t.Errorf("%d of the best 3 frames are whole minutes older:\n%s", got, out)
	}
	hasPicture(t, filepath.Join(made, "cam-1-alike.jpg"), image.Pt(4*640, 640))
}

// TestNotebook: all cells of the notebook run, and three of them show a picture.
func TestNotebook(t *testing.T) {
	t.Parallel()
	out, made := run(t, nil, "notebook")
	data, err := os.ReadFile(filepath.Join(made, "tensors.ipynb"))
	if err != nil {
		t.Fatal(err, out)
	}
	if got := strings.Count(string(data), `"image/jpeg": "`); got != 3 {
		t.Errorf("%d pictures, want 3", got)
	}
	if got := strings.Count(string(data), "s old  mean 0."); got != 8 {
		t.Errorf("%d frames, want 8", got)
	}
}

// TestPython runs the tests of what the examples do with what they have read.
func TestPython(t *testing.T) {
	t.Parallel()
	python := filepath.Join(directory(t), "venv/bin/python")
	cmd := exec.CommandContext(t.Context(), python, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider")
	cmd.Dir = "python"
	cmd.Env = append(os.Environ(), "PYTHONPATH=../../clients/python/src")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
