// Package tap shows the tensors that go over NATS: a line for each and, on request, a
// picture of what the model sees and a file for NumPy.
//
//	summary, err := tap.Run(ctx, tap.Options{Subject: "cvf.t.>", Out: os.Stdout, Err: os.Stderr})
//
// It sees tensors as any consumer does: it knows only what the messages say, and checks it
// before it believes it.
package tap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/tensorimage"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
)

// DefaultSubject matches all tensors, where their subjects have the default template.
const DefaultSubject = "cvf.t.>"

// Options say what to look at.
type Options struct {
	// URL is the NATS server's. Default: [dial.DefaultURL].
	URL string
	// Credentials and TLS are those of [dial.Options].
	Credentials string
	TLS         dial.TLS
	// Subject is the subject of the tensors, which may have wildcards. Gap events of the
	// same streams are shown as well. Default: [DefaultSubject], and Err is told which
	// subjects there are.
	Subject string
	// Save is the directory to write PNG and npy files to. It is created if it is missing.
	// Default: none are written.
	Save string
	// Count is the number of tensors after which Run returns. Default: it runs until ctx
	// ends.
	Count int
	// Out gets the lines, and Err the errors and warnings. Both must be set.
	Out, Err io.Writer

	now   func() time.Time // for the ages of tensors; default time.Now
	quiet time.Duration    // after which it says what there is; default 5s
	all   bool             // no subject was given
}

// Check returns what is wrong with the options. [Run] checks them as well.
func (o Options) Check() error {
	if o.Count < 0 {
		return fmt.Errorf("count %d: must not be negative", o.Count)
	}
	if o.Subject != "" {
		if err := checkSubject(o.Subject); err != nil {
			return err
		}
	}
	return o.nats().Check()
}

func (o Options) nats() dial.Options {
	return dial.Options{URL: o.URL, Credentials: o.Credentials, TLS: o.TLS, Name: "cvfeeder tap"}
}

// A Summary counts messages.
type Summary struct {
	// Tensors and Gaps have been shown.
	Tensors, Gaps int
	// Broken counts messages whose content does not match their headers.
	Broken int
	// Missed counts messages that came faster than they could be shown.
	Missed int
	// Incomplete counts tensors of which some parts did not arrive.
	Incomplete int
}

// String returns the summary in words.
func (s Summary) String() string {
	text := fmt.Sprintf("%d tensors, %d gaps, %d broken messages, %d missed", s.Tensors, s.Gaps, s.Broken, s.Missed)
	if s.Incomplete > 0 {
		text += fmt.Sprintf(", %d incomplete", s.Incomplete)
	}
	return text
}

// Run shows messages until ctx ends or Count is reached, neither of which is an
// error. It waits for a server that is not there yet. Broken messages are reported
// to Err and counted. An error means that the options are wrong, that the server
// refuses the credentials or the subject ([dial.ErrRefused]), or that a file or a line
// cannot be written. If nothing comes for five seconds, it tells Err once which subjects
// there are.
func Run(ctx context.Context, o Options) (Summary, error) {
	if err := o.Check(); err != nil {
		return Summary{}, err
	}
	t := &tap{out: o.Out, now: o.now, log: newLog(o.Err)}
	if t.now == nil {
		t.now = time.Now
	}
	if o.Subject == "" {
		o.Subject, o.all = DefaultSubject, true
	}
	o.quiet = cmp.Or(o.quiet, defaultQuiet)
	if o.Save != "" {
		files, err := openFolder(o.Save)
		if err != nil {
			return Summary{}, err
		}
		defer files.close()
		t.files = files
	}
	opts := o.nats()
	opts.Logger = t.log
	sub, err := consume.Subscribe(opts, subjects(o.Subject)...)
	if err != nil {
		return Summary{}, err
	}
	defer sub.Close()
	err = t.run(ctx, sub, o)
	t.seen.Missed, t.seen.Incomplete = sub.Missed(), sub.Incomplete()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	return t.seen, err
}

// newLog returns a logger for people at a terminal.
func newLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "connection" {
				return slog.Attr{}
			}
			return a
		},
	}))
}

type tap struct {
	out   io.Writer
	log   *slog.Logger
	now   func() time.Time
	files *folder // nil where nothing is saved
	seen  Summary
}

func (t *tap) run(ctx context.Context, sub *consume.Subscription, o Options) error {
	err := sub.WaitConnected(ctx)
	if errors.Is(err, dial.ErrRefused) || ctx.Err() != nil {
		return err
	}
	if err == nil {
		t.log.Info("reading", "subject", o.Subject)
	}
	came, first := make(chan struct{}), sync.Once{}
	var telling sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	telling.Go(func() { t.tellSilence(ctx, o, came) })
	if o.all {
		telling.Go(func() { t.tellPublished(ctx, o) })
	}
	defer telling.Wait()
	defer cancel()
	for d, err := range sub.Tensors(ctx) {
		first.Do(func() { close(came) })
		if err != nil {
			t.broken(err)
			continue
		}
		if err := t.show(d); err != nil {
			return err
		}
		if o.Count > 0 && t.seen.Tensors >= o.Count {
			break
		}
	}
	return nil
}

// show writes the line of d, and its files. An error means that one cannot be written.
func (t *tap) show(d consume.Delivery) error {
	if d.Gap != nil {
		t.seen.Gaps++
		return t.line(gapLine(d.Subject, d.Gap.Gap))
	}
	if t.seen.Tensors++; t.seen.Tensors == 1 {
		t.tellAge(d.Age(t.now()))
	}
	if d.ContentType != "" {
		return t.showPicture(d.Tensor)
	}
	pixels, err := tensorimage.New(d.Envelope, d.Data)
	if err != nil {
		t.broken(err)
		return nil
	}
	if t.files != nil {
		if err := t.files.save(d.Envelope, pixels); err != nil {
			return err
		}
	}
	line := tensorLine(d.Tensor, pixels, t.now())
	if d.InMemory {
		line += " in memory"
	}
	return t.line(line)
}

// showPicture does what show does for an encoded picture.
func (t *tap) showPicture(p tensor.Tensor) error {
	if t.files != nil {
		if err := t.files.savePicture(p); err != nil {
			return err
		}
	}
	return t.line(pictureLine(p, t.now()))
}

func (t *tap) line(s string) error {
	if _, err := fmt.Fprintln(t.out, s); err != nil {
		return fmt.Errorf("writing a line: %w", err)
	}
	return nil
}

func (t *tap) broken(err error) {
	t.seen.Broken++
	var broken *consume.MessageError
	if errors.As(err, &broken) {
		t.log.Warn("broken message", "subject", broken.Subject, "err", broken.Err)
		return
	}
	t.log.Warn("broken message", "err", err)
}
