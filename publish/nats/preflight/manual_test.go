package preflight_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/jobs"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// TestManualGrantsWhatIsNeeded compares the table of permissions in docs/security.md with
// what the program checks, which other tests hold against a server. A mode's row leaves
// out what a row before it has.
func TestManualGrantsWhatIsNeeded(t *testing.T) {
	const stream, bucket = "cvfeeder", "cvf_cursor"
	check := conntest.NeedsCheck()
	ring := preflight.NeedsRing(stream, allTensors, allGaps)
	durable := preflight.NeedsDurable(stream, bucket, allTensors, allGaps)
	want := "| for | publish | subscribe |\n|---|---|---|\n" +
		row("asking what is granted", check, preflight.Needs{}) +
		row("`live`", needsLive, preflight.Needs{}) +
		row("`ring`: as `live`, and", ring, needsLive) +
		row("`durable`: as `ring`, and", durable, ring) +
		row("`delivery.memory`", preflight.NeedsMemory("", allTensors), preflight.Needs{}) +
		row("`poll: subscribed`, in `live`", preflight.NeedsInterest(""), preflight.Needs{}) +
		row("`poll: subscribed`, in `ring` and `durable`: as in `live`, and", preflight.NeedsInterest(stream), preflight.NeedsInterest("")) +
		row("making its stream and bucket", preflight.NeedsCreate(stream, bucket), preflight.Needs{}) +
		row("`cvfeeder replay` and `jobs`", preflight.NeedsReplay("cvfeeder-replay", jobs.Bucket), preflight.Needs{}) +
		row("making their stream and bucket", preflight.NeedsCreate("cvfeeder-replay", jobs.Bucket), preflight.Needs{}) +
		row("a cluster, with its bucket", preflight.NeedsLeases(), preflight.Needs{}) +
		row("making the cluster's bucket", preflight.NeedsCreate(stream, lease.Bucket), preflight.NeedsCreate(stream)) +
		row("the NATS service", preflight.NeedsService(), preflight.Needs{}) +
		row("ranges on request: as the service, and", preflight.NeedsRanges(), preflight.Needs{}) +
		row("the service of several cvfeeders: as it, and", preflight.NeedsForward(), preflight.Needs{})
	manual, err := os.ReadFile("../../../docs/security.md")
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

func row(what string, n, known preflight.Needs) string {
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
