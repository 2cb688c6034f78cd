package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
)

var (
	drillAll  = flag.Bool("drill", false, "let TestDrill run all drills, at a pace that people can follow, instead of one")
	drillPage = flag.Bool("drill-page", false, "let TestDrill write its transcripts into docs/drills.md")
)

// drillLimit is how long a drill waits for anything.
const drillLimit = 4 * time.Minute

// A drill is an incident as the person on call sees it.
type drill struct {
	name string
	// incident and mend say what is done; cause is what the person is to find.
	incident, mend, cause string
	// configure changes the rig before anything is started.
	configure func(*drillRig)
	// started is called when everything runs.
	started func(*drillRig)
	strike  func(*drillRig)
	heal    func(*drillRig)

	// alert is the one that the person is told of, and reason what the instance says, "" for
	// nothing.
	// unready says that /readyz is 503 meanwhile.
	alert, reason string
	unready       bool
	// metrics are queries whose values the transcript has, before, during and after.
	metrics []string
	// found has what the output of the runbook's commands must match, by what the
	// command contains.
	found map[string]string
	// small says that "make test" runs it.
	small bool
}

// TestDrill runs incidents on real parts, and tells what the person on call sees: the log,
// readiness, the page, alerts and notifications, with the time since the incident. Only
// the expected alert is told. The commands of its entry in the runbook are run literally,
// and lead to the cause. Afterwards all is clear again, without a restart.
func TestDrill(t *testing.T) {
	feedertest.Long(t, "runs real servers for half a minute")
	transcripts := map[string]string{}
	var mu sync.Mutex
	t.Cleanup(func() {
		if *drillPage {
			writeDrills(t, transcripts)
		}
	})
	for _, d := range drills() {
		if !*drillAll && !d.small {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			if !*drillAll { // so that transcripts have the times of an idle machine
				t.Parallel()
			}
			r := newDrillRig(t, d)
			r.run()
			text := r.transcript()
			t.Logf("\n%s", text)
			mu.Lock()
			transcripts[d.name] = text
			mu.Unlock()
		})
	}
}

// run has the incident happen, goes by the runbook, mends it, and waits until all is clear.
func (r *drillRig) run() {
	if r.drill.started != nil {
		r.drill.started(r)
	}
	r.await("all is well at first", r.troubled)
	r.begin = time.Now()
	r.values("before")
	r.tell("incident", "", r.drill.incident)
	r.drill.strike(r)
	r.await("/readyz and the page tell "+r.drill.reason, func() string {
		if r.drill.unready == (r.readyStatus == 200) {
			return fmt.Sprintf("/readyz is %d", r.readyStatus)
		}
		if reason := r.drill.reason; reason != "" && (!strings.Contains(r.readyBody, reason) || !slices.Contains(r.pageCodes, reason)) {
			return fmt.Sprintf("/readyz says %q, the page %q", r.readyBody, r.pageCodes)
		}
		return ""
	})
	r.await("somebody is told of "+r.drill.alert, func() string {
		if r.told[r.drill.alert] == 0 {
			return fmt.Sprintf("told of %v", r.told)
		}
		return ""
	})
	r.values("during")
	r.goByRunbook()
	r.healed = time.Now()
	r.tell("mend", "", r.drill.mend)
	r.drill.heal(r)
	r.await("all is clear again", r.troubled)
	r.values("after")
	for name, told := range r.everTold {
		if told && name != r.drill.alert {
			r.t.Errorf("somebody was told of %s as well, for the same cause", name)
		}
	}
	r.checkLog()
}

// troubled returns what is not well, "" for nothing.
func (r *drillRig) troubled() string {
	wellAgain := len(r.pageStates) == 1 && r.pageStates["ok"] > 0 && len(r.pageCodes) == 0
	if !*drillAll { // that slots were lost is told for a minute
		codes := slices.DeleteFunc(slices.Clone(r.pageCodes), func(c string) bool { return c == "gaps" })
		wellAgain = len(r.pageStates) > 0 && len(codes) == 0
	}
	switch {
	case r.readyStatus != 200 || !wellAgain:
		return fmt.Sprintf("/readyz: %d %s, the page: %v %q", r.readyStatus, r.readyBody, r.pageStates, r.pageCodes)
	case len(r.alerts) > 0:
		return fmt.Sprintf("alerts: %v", r.alerts)
	}
	for name, n := range r.told {
		if n > 0 && !r.elsewhere(name) {
			return fmt.Sprintf("nobody was told that %s is over", name)
		}
	}
	return ""
}

// checkLog checks that the log has a line with the reason, and one that it is over.
func (r *drillRig) checkLog() {
	r.t.Helper()
	if r.drill.reason == "" || strings.HasPrefix(r.drill.reason, "clock_") { // which its finder logs
		return
	}
	var begun, over bool
	for _, e := range r.events {
		over = over || begun && strings.Contains(e.text, `msg="stream removed"`)
		if e.kind == "log" && strings.Contains(e.text, "reason="+r.drill.reason) {
			over = over || begun && strings.Contains(e.text, "lasted=")
			begun = begun || !strings.Contains(e.text, "lasted=")
		}
	}
	if !begun || !over {
		r.t.Errorf("the log tells that %s begins: %v, that it is over: %v", r.drill.reason, begun, over)
	}
}

const (
	drillsBegin = "<!-- drills -->\n"
	drillsEnd   = "<!-- end of drills -->"
)

var drillsFile = filepath.Join("..", "..", "docs", "drills.md")

// writeDrills writes the transcripts into the documentation. Those of drills that were not
// run stay as they are.
func writeDrills(t *testing.T, transcripts map[string]string) {
	t.Helper()
	text, err := os.ReadFile(drillsFile)
	if err != nil {
		t.Error(err)
		return
	}
	head, rest, ok1 := strings.Cut(string(text), drillsBegin)
	old, tail, ok2 := strings.Cut(rest, drillsEnd)
	if !ok1 || !ok2 {
		t.Errorf("%s has no place for the drills", drillsFile)
		return
	}
	var b strings.Builder
	for _, d := range drills() {
		section := drillHead(d) + "```text\n" + transcripts[d.name] + "```\n\n"
		if transcripts[d.name] == "" {
			_, was, _ := strings.Cut(old, "## "+d.name+"\n")
			was, _, _ = strings.Cut(was, "\n## ")
			section = "## " + d.name + "\n" + strings.TrimRight(was, "\n") + "\n\n"
		}
		b.WriteString(section)
	}
	if err := os.WriteFile(drillsFile, []byte(head+drillsBegin+"\n"+b.String()+drillsEnd+tail), 0o600); err != nil {
		t.Error(err)
	}
}

// drillHead begins the section of a drill.
func drillHead(d drill) string {
	reason := "the instance itself is well"
	if d.reason != "" {
		reason = fmt.Sprintf("the reason is [`%s`](reasons.md#%[1]s)", d.reason)
	}
	return fmt.Sprintf("## %s\n\n%s. The alert is [%s](runbook.md#%s), and %s. The commands of the runbook show that %s.\n\n",
		d.name, strings.ToUpper(d.incident[:1])+d.incident[1:], d.alert, strings.ToLower(d.alert), reason, d.cause)
}

// TestDrillsAreDocumented: docs/drills.md has a transcript of each drill, with the present
// description. Each alert exists, and each command of the runbook is run by a drill.
func TestDrillsAreDocumented(t *testing.T) {
	read := func(path ...string) string {
		data, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	page, alerts := read("docs", "drills.md"), read("docker", "prometheus", "alerts.yml")
	dashboards := read("docker", "grafana", "dashboards", "fleet.json") + read("docker", "grafana", "dashboards", "stream.json")
	ran := map[string]bool{}
	for _, d := range drills() {
		ran[d.alert] = true
		_, section, ok := strings.Cut(page, drillHead(d)+"```text\n")
		section, _, _ = strings.Cut(section, "```\n")
		if !ok || !strings.Contains(section, d.alert) || !strings.Contains(section, d.mend) {
			t.Errorf("docs/drills.md has no present transcript of %s: make drills", d.name)
		}
		if !strings.Contains(alerts, "- alert: "+d.alert+"\n") {
			t.Errorf("%s: there is no alert %s", d.name, d.alert)
		}
		for _, query := range d.metrics {
			for _, metric := range regexp.MustCompile(`cvfeeder_\w+`).FindAllString(query, -1) {
				if !strings.Contains(dashboards, metric) {
					t.Errorf("%s: no dashboard shows %s", d.name, metric)
				}
			}
		}
	}
	for _, section := range strings.Split(page, "\n## ")[1:] {
		name, _, _ := strings.Cut(section, "\n")
		if !slices.ContainsFunc(drills(), func(d drill) bool { return d.name == name }) && name != "How they run" {
			t.Errorf("docs/drills.md has %q, which is no drill", name)
		}
	}
	for name, commands := range runbookCommands(t) {
		if len(commands) > 0 && name != "" && !ran[name] {
			t.Errorf("docs/runbook.md has commands for %s, and no drill runs them", name)
		}
	}
}
