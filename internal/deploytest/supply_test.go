package deploytest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// top is the top of the repository.
const top = "../.."

// unpinned are the images without a digest, and why. docker/pin.sh gives them one.
func unpinned() map[string]string {
	return map[string]string{
		"docker.io/natsio/prometheus-nats-exporter:0.20.1": "nobody with a registry has run docker/pin.sh since it came",
		"docker.io/library/nats:2.15.2":                    "nobody with a registry has run docker/pin.sh since that version came",
	}
}

// files calls f with each file of the repository whose name matches the pattern.
func files(t *testing.T, pattern string, f func(path, text string)) {
	t.Helper()
	found := false
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && d.Name() != ".." && d.Name() != ".github" && d.Name() != ".ci"
		if d.IsDir() && (hidden || d.Name() == "dist") {
			return fs.SkipDir
		}
		if match, err := filepath.Match(pattern, d.Name()); d.IsDir() || err != nil || !match {
			return err
		}
		text, err := os.ReadFile(path)
		found = true
		f(path, string(text))
		return err
	})
	if err != nil || !found {
		t.Fatalf("%s: %v, found %t", pattern, err, found)
	}
}

// TestImagesHaveDigests finds images of others whose content may be different tomorrow.
func TestImagesHaveDigests(t *testing.T) {
	ours := regexp.MustCompile(`^(cvfeeder|cvfeeder-consumer|\$\{CVFEEDER_IMAGE:-cvfeeder\}|scratch|ghcr\.io/cvfeeder/\w+:v[\d.]+|registry\.example/.*)$`)
	said := regexp.MustCompile(`^("?\{\{|\{\})`) // by the values of a chart
	pinned := regexp.MustCompile(`^docker\.io/[a-z0-9./_-]+:[\w.-]+@sha256:[0-9a-f]{64}$`)
	known, met := unpinned(), map[string]bool{}
	check := func(path, image string) {
		if ours.MatchString(image) || said.MatchString(image) || pinned.MatchString(image) {
			return
		}
		if known[image] == "" {
			t.Errorf("%s: the image %q has no digest: run docker/pin.sh", path, image)
		}
		met[image] = true
	}
	files(t, "*Dockerfile", func(path, text string) {
		args := map[string]string{}
		for _, arg := range regexp.MustCompile(`(?m)^ARG (\w+)=(.*)$`).FindAllStringSubmatch(text, -1) {
			args[arg[1]] = arg[2]
		}
		from := regexp.MustCompile(`(?m)^FROM (?:--\S+ )*(\S+)(?: AS (\S+))?`).FindAllStringSubmatch(text, -1)
		if len(from) == 0 {
			t.Errorf("%s: no FROM was found", path)
		}
		stages := map[string]bool{}
		for _, m := range from {
			if stages[m[1]] {
				continue
			}
			stages[m[2]] = true
			check(path, os.Expand(m[1], func(name string) string { return args[name] }))
		}
	})
	images := regexp.MustCompile(`(?m)^\s*-?\s*(?:image|container): (\S+)`)
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		files(t, pattern, func(path, text string) {
			for _, m := range images.FindAllStringSubmatch(text, -1) {
				check(path, m[1])
			}
		})
	}
	for image := range known {
		if !met[image] {
			t.Errorf("%s is not named without a digest anywhere: remove it from the exceptions", image)
		}
	}
}

// TestPin runs docker/pin.sh with a registry that has the same digest for all images.
func TestPin(t *testing.T) {
	dir, digest := t.TempDir(), "sha256:"+strings.Repeat("0123456789abcdef", 4)
	file, crane := filepath.Join(dir, "compose.yaml"), filepath.Join(dir, "crane")
	old := "@sha256:" + strings.Repeat("f", 64)
	write(t, file, 0o600, "image: docker.io/a/b:1.2"+old+"\nimage: docker.io/a/b:1.2.3 # newer\nFROM docker.io/a/b:1.2 AS c\nimage: cvfeeder\n")
	write(t, crane, 0o700, "#!/bin/sh\necho "+digest+"\n")
	t.Setenv("CRANE", crane)
	command(t, nil, filepath.Join(docker, "pin.sh"), file)
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := "image: docker.io/a/b:1.2@" + digest + "\nimage: docker.io/a/b:1.2.3@" + digest + " # newer\nFROM docker.io/a/b:1.2@" + digest + " AS c\nimage: cvfeeder\n"
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func write(t *testing.T, path string, mode fs.FileMode, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// TestPythonPackagesHaveHashes: each package that is installed is named with its version
// and its hashes, by a file that "make requirements" made of what a person wrote.
func TestPythonPackagesHaveHashes(t *testing.T) {
	entry := regexp.MustCompile(`^[\w.\[\]-]+==\S+( ; .+)?( --hash=sha256:[0-9a-f]{64})+$`)
	files(t, "requirements*.txt", func(path, text string) {
		for _, line := range strings.Split(strings.TrimSpace(strings.ReplaceAll(text, " \\\n   ", "")), "\n") {
			if !entry.MatchString(line) {
				t.Errorf("%s: %.100q is no package with its hashes: run make requirements", path, line)
			}
		}
	})
	extras := regexp.MustCompile(`\[.*?\]`) // which the pinned files leave out
	files(t, "requirements*.in", func(path, wanted string) {
		pins, err := os.ReadFile(strings.TrimSuffix(path, ".in") + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSpace(wanted), "\n") {
			pin := extras.ReplaceAllString(line, "")
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "-r ") && !strings.Contains("\n"+string(pins), "\n"+pin+" ") {
				t.Errorf("%s: %s is not in the pinned file: run make requirements", path, line)
			}
		}
	})
}

// TestPipChecksHashes: nothing is installed with pip whose hash is not checked.
func TestPipChecksHashes(t *testing.T) {
	for _, pattern := range []string{"Makefile", "*Dockerfile", "*.sh", "run"} {
		files(t, pattern, func(path, text string) {
			for _, line := range strings.Split(text, "\n") {
				if strings.Contains(line, "pip install") && !strings.Contains(line, "--require-hashes --only-binary :all:") {
					t.Errorf("%s: pip installs without --require-hashes --only-binary :all: %s", path, line)
				}
			}
		})
	}
}
