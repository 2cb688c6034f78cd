package starter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// Modes are the delivery modes that a user can choose.
func Modes() []string {
	return []string{string(config.ModeLive), string(config.ModeRing), string(config.ModeDurable)}
}

const (
	// maxNamed is how many of the account's streams are shown.
	maxNamed = 20
	// listTime limits the look-up of the account's streams.
	listTime = 10 * time.Second
)

// A Lister returns the names of the account's streams in a region, as far as its user may
// list them.
type Lister func(ctx context.Context, region, endpoint string) ([]string, error)

// Missing returns the error of answers that name no camera, with the cameras that there
// are, if they can be listed.
func (a Answers) Missing(ctx context.Context, list Lister) error {
	_, _, err := a.Text("")
	if len(a.Streams) > 0 || a.Prefix != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	if names, failed := list(ctx, a.Region, a.Endpoint); failed == nil && len(names) > 0 {
		return fmt.Errorf("%w; the account has %s", err, some(names, maxNamed))
	}
	return err
}

// A dialogue asks questions, one a line.
type dialogue struct {
	in  *bufio.Scanner
	out io.Writer
}

// Ask asks for each answer whose flag was not given, and suggests the one that is there.
func (a *Answers) Ask(ctx context.Context, in io.Reader, out io.Writer, given func(flag string) bool, list Lister) error {
	d := dialogue{bufio.NewScanner(in), out}
	for _, q := range []struct {
		flag, text string
		answer     *string
		allowed    []string
	}{
		{"region", `AWS region ("" for the SDK's default)`, &a.Region, nil},
		{"stream", "", nil, nil},
		{"preset", "", nil, nil},
		{"interval", "", nil, nil},
		{"nats", `NATS server ("embedded" for one in this process)`, &a.NATS, nil},
		{"mode", "Delivery", &a.Mode, Modes()},
	} {
		var err error
		switch {
		case given(q.flag), q.flag == "stream" && given("prefix"):
		case q.flag == "stream":
			err = d.cameras(ctx, a, list)
		case q.flag == "preset":
			a.Preset, err = d.preset(a.Preset)
		case q.flag == "interval":
			err = d.interval(&a.Interval)
		default:
			*q.answer, err = d.choice(q.text, *q.answer, q.allowed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ask asks until check accepts the answer. An empty line is the default.
func (d dialogue) ask(text, usual string, check func(string) error) error {
	for {
		if _, err := fmt.Fprintf(d.out, "%s [%s]: ", text, usual); err != nil {
			return err
		}
		if !d.in.Scan() {
			return errors.Join(errors.New("the answers end: nothing is written"), d.in.Err())
		}
		answer := strings.TrimSpace(d.in.Text())
		if answer == "" {
			answer = usual
		}
		err := check(answer)
		if err == nil {
			return nil
		}
		if _, err := fmt.Fprintf(d.out, "  %v\n", err); err != nil {
			return err
		}
	}
}

func (d dialogue) choice(text, usual string, allowed []string) (chosen string, err error) {
	if allowed != nil {
		text += " (" + strings.Join(allowed, ", ") + ")"
	}
	err = d.ask(text, usual, func(answer string) error {
		if answer == `""` {
			answer = ""
		}
		if chosen = answer; allowed != nil && !slices.Contains(allowed, answer) {
			return fmt.Errorf("%q is none of them", answer)
		}
		return nil
	})
	return chosen, err
}

// preset asks for one of all presets, and names the first.
func (d dialogue) preset(usual string) (chosen string, err error) {
	text := fmt.Sprintf(`Model that the pictures are for (%s, or another of "cvfeeder presets")`, strings.Join(transform.PresetNames()[:5], ", "))
	err = d.ask(text, usual, func(answer string) error {
		chosen = answer
		if _, err := transform.PresetOf(answer); err != nil {
			return fmt.Errorf("%q is none of them", answer)
		}
		return nil
	})
	return chosen, err
}

func (d dialogue) interval(interval *time.Duration) error {
	return d.ask("Time between pictures", interval.String(), func(answer string) error {
		given, err := time.ParseDuration(answer)
		if err != nil || given < source.MinInterval {
			return fmt.Errorf("%q: give a duration from %v, such as 1s", answer, source.MinInterval)
		}
		*interval = given
		return nil
	})
}

// cameras asks for cameras by their numbers in a list of those that there are, by their
// names, or by a prefix with an asterisk.
func (d dialogue) cameras(ctx context.Context, a *Answers, list Lister) error {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	names, err := list(ctx, a.Region, a.Endpoint)
	usual := ""
	switch {
	case err != nil:
		d.tell("The account's streams cannot be listed: %s\n", sanitize.Text(err.Error()))
	case len(names) == 0:
		d.tell("The account has no stream in this region.\n")
	default:
		usual = "1"
		d.tell("The account's streams:\n")
		for i, name := range names[:min(len(names), maxNamed)] {
			d.tell("  %2d  %s\n", i+1, name)
		}
		if more := len(names) - maxNamed; more > 0 {
			d.tell("  and %d more\n", more)
		}
	}
	return d.ask("Cameras: numbers or names with commas, or a prefix with * such as cam-*", usual, func(answer string) error {
		a.Streams, a.Prefix = nil, ""
		for word := range strings.SplitSeq(answer, ",") {
			word = strings.TrimSpace(word)
			n, err := strconv.Atoi(word)
			prefix, isPrefix := strings.CutSuffix(word, "*")
			switch {
			case word == "" || isPrefix && (prefix == "" || a.Prefix != ""):
				return errors.New("give a number, a name, or one prefix with *")
			case isPrefix:
				a.Prefix = prefix
			case err == nil && n >= 1 && n <= min(len(names), maxNamed):
				a.Streams = append(a.Streams, names[n-1])
			default:
				a.Streams = append(a.Streams, word)
			}
		}
		_, _, err := Answers{Streams: a.Streams, Prefix: a.Prefix, Interval: source.MinInterval, Preset: "yolo", NATS: config.Embedded, Mode: string(config.ModeLive)}.Text("answer")
		return err
	})
}

// tell prints a line. A terminal that is gone is noticed by the next question.
func (d dialogue) tell(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }
