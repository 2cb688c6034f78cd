package deploytest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// stages parses a Dockerfile of the repository as BuildKit does, with its linter.
func stages(t *testing.T, name string) []instructions.Stage {
	t.Helper()
	parsed, err := parser.Parse(bytes.NewReader(read(t, name)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("%s: %s", name, w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		t.Errorf("%s:%d: %s: %s", name, at[0].Start.Line, rule, message)
	}})
	all, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return all
}

// instruction returns the last instruction of a kind in the stages.
func instruction[C any](t *testing.T, all ...instructions.Stage) (found C) {
	t.Helper()
	met := false
	for _, s := range all {
		for _, c := range s.Commands {
			if c, ok := c.(C); ok {
				found, met = c, true
			}
		}
	}
	if !met {
		t.Fatalf("no %T was found", found)
	}
	return found
}

// TestDockerfiles parses each Dockerfile, and its commands as the shell does, and looks for
// what it copies.
func TestDockerfiles(t *testing.T) {
	for _, name := range []string{"Dockerfile", "consumer/Dockerfile"} {
		for _, s := range stages(t, name) {
			for _, c := range s.Commands {
				switch c := c.(type) {
				case *instructions.RunCommand:
					if c.PrependShell {
						command(t, nil, "sh", "-n", "-c", strings.Join(c.CmdLine, " "))
					}
				case *instructions.CopyCommand:
					for _, path := range c.SourcePaths {
						if c.From != "" {
							continue
						}
						if _, err := os.Stat(filepath.Join(top, path)); err != nil {
							t.Errorf("%s copies %s: %v", name, path, err)
						}
					}
				}
			}
		}
	}
}

// TestImage: what is built by default is the program alone, for a user that is not root,
// and the debug image differs from it by a shell only.
func TestImage(t *testing.T) {
	all := stages(t, "Dockerfile")
	byName := map[string]instructions.Stage{}
	for _, s := range all {
		byName[s.Name] = s
	}
	program, debug, last := byName["program"], byName["debug"], all[len(all)-1]
	if program.BaseName != "scratch" || last.BaseName != "program" || len(last.Commands) > 0 || debug.BaseName != "program" {
		t.Fatalf("program is from %q, the last stage from %q with %d instructions, debug from %q",
			program.BaseName, last.BaseName, len(last.Commands), debug.BaseName)
	}
	if user := instruction[*instructions.UserCommand](t, program).User; user != "65532:65532" {
		t.Errorf("the user is %q", user)
	}
	health := instruction[*instructions.HealthCheckCommand](t, program).Health
	if want := []string{"CMD", "/usr/local/bin/cvfeeder", "health"}; !slices.Equal(health.Test, want) {
		t.Errorf("the health check is %q", health.Test)
	}
	if entry := instruction[*instructions.EntrypointCommand](t, program); entry.PrependShell || !slices.Equal(entry.CmdLine, []string{"/usr/local/bin/cvfeeder"}) {
		t.Errorf("the entry point is %q", entry.CmdLine)
	}
	labels := map[string]string{}
	for _, l := range instruction[*instructions.LabelCommand](t, program).Labels {
		labels[strings.Trim(l.Key, `"`)] = l.Value
	}
	for _, key := range []string{"title", "description", "url", "source", "documentation", "vendor", "licenses", "version", "revision", "created"} {
		if labels["org.opencontainers.image."+key] == "" {
			t.Errorf("there is no label org.opencontainers.image.%s", key)
		}
	}
	for _, c := range debug.Commands {
		switch c.(type) {
		case *instructions.CopyCommand, *instructions.EnvCommand:
		default:
			t.Errorf("debug changes more than files and PATH: %v", c)
		}
	}
}

// TestBuilderIsAskedForAnIndex runs docker/build.sh with builders that print what they are
// asked for.
func TestBuilderIsAskedForAnIndex(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"docker", "buildah"} {
		write(t, filepath.Join(bin, name), 0o700, "#!/bin/sh\necho \"$0\" \"$@\"\n")
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for _, tt := range []struct{ builder, platform, want string }{
		{"buildah", "linux/arm64", "--tag image"},
		{"buildah", "linux/amd64,linux/arm64", "--manifest image"},
		{"docker", "linux/amd64,linux/arm64", "--tag image"},
	} {
		t.Setenv("BUILDER", tt.builder)
		cmd := exec.CommandContext(t.Context(), filepath.Join(docker, "build.sh"), "image", "v1", "--platform", tt.platform)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{tt.want, "--platform " + tt.platform, "VERSION=v1", "--file docker/Dockerfile"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s for %s: %q is not in\n%s", tt.builder, tt.platform, want, out)
			}
		}
	}
}
