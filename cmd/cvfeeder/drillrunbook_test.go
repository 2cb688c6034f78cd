package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// runbookCommands returns the blocks of commands of docs/runbook.md by alert; "" has those
// that come before all entries.
func runbookCommands(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for i, section := range strings.Split(string(data), "\n## ") {
		name, _, _ := strings.Cut(section, "\n")
		if i == 0 {
			name = ""
		}
		for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(section, -1) {
			all[name] = append(all[name], m[1])
		}
	}
	if len(all[""]) == 0 || len(all) < 5 {
		t.Fatalf("the runbook has commands for %d entries", len(all))
	}
	return all
}

// goByRunbook runs the commands of the runbook for the alert, and checks that they show
// the cause.
func (r *drillRig) goByRunbook() {
	r.t.Helper()
	all := runbookCommands(r.t)
	left := map[string]string{}
	for part, want := range r.drill.found {
		left[part] = want
	}
	for _, block := range append(all[""], all[r.drill.alert]...) {
		var state string // variables that a command has set for the next
		for command := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSpace(block), "\\\n", " "), "\n") {
			if why := r.cannotRun(command); why != "" {
				r.t.Logf("not run: %s: %s", command, why)
				for part := range left {
					if strings.Contains(command, part) {
						delete(left, part)
					}
				}
				continue
			}
			out := r.shell(state + command)
			if regexp.MustCompile(`^\w+=`).MatchString(command) {
				state += command + "\n"
			}
			r.tell("runbook", "$ ", strings.Join(strings.Fields(command), " ")+"\n"+out)
			for part, want := range left {
				if !strings.Contains(command, part) {
					continue
				}
				if delete(left, part); !regexp.MustCompile(want).MatchString(out) {
					r.t.Errorf("the output of %s does not name the cause, %s:\n%s", command, want, out)
				}
			}
		}
	}
	for part := range left {
		r.t.Errorf("the runbook has no command with %q for %s", part, r.drill.alert)
	}
}

// cannotRun returns why a command cannot be run here, "" if it can.
func (r *drillRig) cannotRun(command string) string {
	program, _, _ := strings.Cut(command, " ")
	switch {
	case strings.Contains(command, "$(aws ") || program == "aws":
		program = "aws"
	case program != "nats":
		return ""
	}
	if r.tools[program] == "" {
		return "make drill installs " + program
	}
	return ""
}

// shell runs a command of the runbook, and returns what it prints. The addresses are those
// of the rig in place of the usual ones.
func (r *drillRig) shell(command string) string {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", r.shim+r.here.Replace(command))
	cmd.Dir = r.dir
	path := os.Getenv("PATH")
	for _, dir := range r.tools {
		if dir != "" {
			path = dir + ":" + path
		}
	}
	cmd.Env = append(os.Environ(), r.credentials()...)
	cmd.Env = append(cmd.Env, "PATH="+path, "NATS_URL="+r.natsURL, "AWS_ENDPOINT_URL="+r.fakeURL, "AWS_REGION="+kinesistest.Region, "AWS_DEFAULT_REGION="+kinesistest.Region, "AWS_PAGER=", "XDG_CONFIG_HOME="+r.dir, "AWS_EC2_METADATA_DISABLED=true")
	out, err := cmd.CombinedOutput()
	text := strings.TrimRight(r.usual.Replace(string(out)), "\n ")
	if err != nil && text == "" {
		text = err.Error()
	}
	return text
}
