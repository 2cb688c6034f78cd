package natspub_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

// TestManualGrantsWhatIsNeeded compares the table of permissions in docs/security.md with
// what the program checks, which other tests hold against a server. A mode's row leaves
// out what a row before it has.
func TestManualGrantsWhatIsNeeded(t *testing.T) {
	const stream, bucket = "cvfeeder", "cvf_cursor"
	check := needsCheck()
	ring := natspub.NeedsRing(stream, allTensors, allGaps)
	durable := natspub.NeedsDurable(stream, bucket, allTensors, allGaps)
	want := "| for | publish | subscribe |\n|---|---|---|\n" +
		row("asking what is granted", check, natspub.Needs{}) +
		row("`live`", live, natspub.Needs{}) +
		row("`ring`: as `live`, and", ring, live) +
		row("`durable`: as `ring`, and", durable, ring) +
		row("making its stream and bucket", natspub.NeedsCreate(stream, bucket), natspub.Needs{}) +
		row("a cluster, with its bucket", natspub.NeedsLeases(), natspub.Needs{}) +
		row("making the cluster's bucket", natspub.NeedsCreate(stream, natspub.LeaseBucket), natspub.NeedsCreate(stream)) +
		row("the NATS service", natspub.NeedsService(), natspub.Needs{}) +
		row("the service of several cvfeeders: as it, and", natspub.NeedsHandOn(), natspub.Needs{})
	manual, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(manual), "\n## NATS\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var got strings.Builder
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "|") {
			got.WriteString(line)
		}
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("the manual's table (-want +got):\n%s\nwant:\n%s", diff, want)
	}
}

func row(what string, n, known natspub.Needs) string {
	if n.Respond {
		what += ", with `allow_responses`"
	}
	return fmt.Sprintf("| %s | %s | %s |\n", what, cell(n.Publish, known.Publish), cell(n.Subscribe, known.Subscribe))
}

func cell(subjects, known []string) string {
	var more []string
	for _, s := range subjects {
		if !slices.Contains(known, s) {
			more = append(more, "`"+s+"`")
		}
	}
	return strings.Join(more, " ")
}

// needsCheck is what asking for permissions needs itself.
func needsCheck() natspub.Needs {
	return natspub.Needs{Publish: []string{"$SYS.REQ.USER.INFO"}, Subscribe: []string{"_INBOX.>"}}
}
