package tap

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
)

const (
	defaultQuiet = 5 * time.Second
	answerTime   = time.Second // each cvfeeder answers
	namedAtMost  = 5           // subjects in the log
	// old is the age from which tensors are not just of a long fragment that was made
	// visible late.
	old = 30 * time.Second
)

// tellSilence says what there is to see if nothing has come for a while. A wrong subject
// is silent otherwise. It returns when something has come, when it has told, or when ctx
// ends.
func (t *tap) tellSilence(ctx context.Context, o Options, came <-chan struct{}) {
	timer := time.NewTimer(o.quiet)
	defer timer.Stop()
	select {
	case <-came:
		return
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	known := published(ctx, o.nats(), answerTime)
	wanted := strings.Split(o.Subject, ".")
	matching := slices.DeleteFunc(slices.Clone(known), func(s string) bool {
		return !overlap(wanted, strings.Split(s, "."))
	})
	switch {
	case ctx.Err() != nil:
	case len(matching) > 0:
		t.log.Warn("nothing comes: the cameras have no new frames", "subject", o.Subject, "published", some(matching))
	case len(known) > 0:
		t.log.Warn("nothing comes: nothing is published on this subject", "subject", o.Subject, "published", some(known))
	default:
		t.log.Warn("nothing comes, and no cvfeeder answers on "+frames.StreamsSubject+", which would say what there is", "subject", o.Subject)
	}
}

// tellPublished says which subjects there are, if a cvfeeder answers.
func (t *tap) tellPublished(ctx context.Context, o Options) {
	if known := published(ctx, o.nats(), answerTime); len(known) > 0 {
		t.log.Info("published", "subjects", len(known), "names", some(known))
	}
}

// tellAge says how old the first tensor was when it came. An old one shows that the feeder
// is behind, which the lines of the tensors alone do not.
func (t *tap) tellAge(age time.Duration) {
	age = age.Round(100 * time.Millisecond)
	if age < old {
		t.log.Info("the first tensor has come", "age", age)
		return
	}
	t.log.Warn("the first tensor is old: the feeder catches up, or is short of cores; freshness in its config drops what is older", "age", age)
}

// Published returns the subjects on which cvfeeders publish, as far as they answer before ctx
// ends, and within a second.
func Published(ctx context.Context, o Options) []string { return published(ctx, o.nats(), answerTime) }

// published returns the subjects on which the cvfeeders of this NATS publish, sorted, as
// far as they connect and answer in the given time.
func published(ctx context.Context, o dial.Options, wait time.Duration) []string {
	o.Logger = slog.New(slog.DiscardHandler) // it may be denied, which is no trouble
	conn, err := dial.Connect(o, "streams")
	if err != nil {
		return nil
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if conn.WaitConnected(ctx) != nil {
		return nil
	}
	client := conn.Client()
	inbox := client.NewRespInbox()
	answers, err := client.SubscribeSync(inbox)
	if err != nil || client.PublishRequest(frames.StreamsSubject, inbox, nil) != nil {
		return nil
	}
	var all []string
	for {
		m, err := answers.NextMsgWithContext(ctx)
		if err != nil || m.Header.Get("Status") == "503" { // nobody is there to answer
			slices.Sort(all)
			return slices.Compact(all)
		}
		var streams []struct {
			Outputs []struct{ Subject string }
		}
		if json.Unmarshal(m.Data, &streams) != nil {
			continue
		}
		for _, s := range streams {
			for _, output := range s.Outputs {
				all = append(all, output.Subject)
			}
		}
	}
}

// some returns the first few subjects, and how many more there are.
func some(subjects []string) string {
	if len(subjects) <= namedAtMost {
		return strings.Join(subjects, ", ")
	}
	return strings.Join(subjects[:namedAtMost], ", ") + ", …"
}
