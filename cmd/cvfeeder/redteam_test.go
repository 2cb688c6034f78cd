package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
)

var (
	redTeamAll   = flag.Bool("redteam", false, "let TestRedTeam run all attacks, which takes some minutes, instead of a few")
	redTeamTable = flag.Bool("redteam-table", false, "let TestRedTeam write its table into docs/security.md")
	redTeamWidth = flag.Int("redteam-width", 2, "how many attacks of TestRedTeam run at the same time")
)

// An attack is something hostile that is done to a real process, and what it may cost.
type attack struct {
	name string // the first column of its row
	// memory is how many MiB the process may be resident at its peak. An idle one takes
	// about 90, as the tests' program is larger than the real one.
	memory int
	quick  bool // it belongs to "make test"
	// run attacks, checks what is particular to the attack, and returns what was seen.
	run func(t *testing.T, a attack) outcome
}

// An outcome is what was measured of an attack.
type outcome struct {
	memory int    // MiB at the peak
	seen   string // in words
}

// attacks are all of them, in the order of the table.
func attacks() []attack {
	var all []attack
	all = append(all, serviceAttacks()...)
	all = append(all, pictureAttacks()...)
	all = append(all, peerAttacks()...)
	all = append(all, httpAttacks()...)
	return append(all, configAttacks()...)
}

// TestRedTeam attacks real processes. None of them ends, panics, grows beyond its bound,
// leaves /healthz unanswered or writes control characters, and all go on when the attack is
// over.
func TestRedTeam(t *testing.T) {
	feedertest.Long(t, "attacks processes for half a minute")
	results := map[string]outcome{}
	var mu sync.Mutex
	width := make(chan struct{}, *redTeamWidth)
	t.Cleanup(func() { reportAttacks(t, results) })
	for _, a := range attacks() {
		if !*redTeamAll && !a.quick {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			width <- struct{}{}
			defer func() { <-width }()
			o := outcome{seen: "**fails**"}
			defer func() {
				if t.Failed() && o.seen != "**fails**" {
					o.seen = "**fails**: " + o.seen
				}
				mu.Lock()
				defer mu.Unlock()
				results[a.name] = o
			}()
			begin := time.Now()
			o = a.run(t, a)
			if most := a.memory * raceFactor(); o.memory > most {
				t.Errorf("the process was resident with %d MiB, more than %d", o.memory, most)
			}
			t.Logf("%d MiB of %d; %s; took %v", o.memory, a.memory, o.seen, time.Since(begin).Round(time.Second))
		})
	}
}

// raceFactor is how many times as much memory the race detector takes.
func raceFactor() int {
	if raceDetector {
		return 10
	}
	return 1
}

const (
	beginAttacks = "<!-- redteam -->\n"
	endAttacks   = "<!-- end of redteam -->"
)

var securityPage = filepath.Join("..", "..", "docs", "security.md")

// reportAttacks logs the table, and writes it into the documentation.
func reportAttacks(t *testing.T, results map[string]outcome) {
	var b strings.Builder
	b.WriteString("| attack | memory, bound | what was seen |\n|---|---|---|\n")
	for _, a := range attacks() {
		o, run := results[a.name]
		memory := "?"
		if !run {
			o.seen = "not run"
		}
		if o.memory > 0 {
			memory = fmt.Sprint(o.memory)
		}
		fmt.Fprintf(&b, "| %s | %s, %d MiB | %s |\n", a.name, memory, a.memory, strings.ReplaceAll(o.seen, "|", "/"))
	}
	t.Logf("\n%s", b.String())
	if !*redTeamTable {
		return
	}
	head, _, tail := attackTable(t)
	if err := os.WriteFile(securityPage, []byte(head+beginAttacks+b.String()+endAttacks+tail), 0o600); err != nil {
		t.Error(err)
	}
}

// attackTable returns the documentation's table, and what stands before and after it.
func attackTable(t *testing.T) (head, table, tail string) {
	t.Helper()
	text, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(text), beginAttacks)
	table, tail, ok2 := strings.Cut(rest, endAttacks)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table", securityPage)
	}
	return head, table, tail
}

// TestRedTeamIsDocumented: every attack has its row, with its bound, and none of them says
// that it fails or was not run.
func TestRedTeamIsDocumented(t *testing.T) {
	_, table, _ := attackTable(t)
	rows := map[string]string{}
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, " | "); len(cells) == 3 {
			rows[strings.TrimPrefix(cells[0], "| ")] = line
		}
	}
	for _, a := range attacks() {
		row := rows[a.name]
		delete(rows, a.name)
		if !strings.Contains(row, fmt.Sprintf(", %d MiB |", a.memory)) || strings.Contains(row, "**fails**") || strings.Contains(row, "not run") {
			t.Errorf("%s: the row is %q: run make redteam", a.name, row)
		}
	}
	delete(rows, "attack")
	for name := range rows {
		t.Errorf("there is no attack %s", name)
	}
}
