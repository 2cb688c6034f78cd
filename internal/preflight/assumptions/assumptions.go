// Package assumptions asks the service the questions on which the source rests: how windows
// select fragments, when media becomes visible, what comes where there is none, how answers
// are paged, ordered and timed, what throttles, and what becomes of resized images.
//
// What is assumed is what the fake service does (package kinesistest): a test holds the two
// together. So a service that answers differently is one on which cvfeeder has not been
// tried.
//
//	report, err := assumptions.Ask(ctx, assumptions.Options{Client: client, Streams: streams, Images: 500})
//	// report.Findings: same, different, or why it could not be told
//
// A [Report] has nothing of the account in it: no name, no picture, and of errors only the
// codes that are documented.
package assumptions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/forecast"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
)

// DefaultImages is how many images the questions may ask for, if nothing else is said. All
// questions together usually take half of it.
const DefaultImages = 500

// MaxStreams is how many streams are asked at most: the second one what the first could
// not tell, and the third one what neither could.
const MaxStreams = 3

// Options say whom to ask.
type Options struct {
	Client *kinesis.Client
	// Streams are those to ask. From the fourth on, they are left out.
	Streams []kinesis.StreamOptions
	// Images is how many images may be asked for in all.
	Images int
	// Found, if set, is called with each finding, in order, as soon as it is made.
	Found func(Finding)
}

// A Verdict compares what was seen with what is assumed.
type Verdict string

// The verdicts.
const (
	Same      Verdict = "same"
	Different Verdict = "different"
	Unknown   Verdict = "could not be told"
)

// A Finding is what came of a question.
type Finding struct {
	// ID is a short name of the question.
	ID string `json:"id"`
	// Question is what was asked, and Fake what the fake service does.
	Question string `json:"question"`
	Fake     string `json:"fake"`
	// Seen is what the service did, "" if nothing was seen.
	Seen    string  `json:"seen,omitempty"`
	Verdict Verdict `json:"verdict"`
	// Why says why it could not be told.
	Why string `json:"why,omitempty"`
	// Stream is the number of the stream that told, from 1 on; 0 if none did.
	Stream int `json:"stream,omitempty"`
}

// A Report is what came of all questions.
type Report struct {
	Findings []Finding `json:"findings"`
	// Images is how many images were asked for, and Streams how many streams.
	Images  int `json:"images_asked"`
	Streams int `json:"streams"`
}

// Count returns how many findings have the verdict.
func (r Report) Count(v Verdict) (n int) {
	for _, f := range r.Findings {
		if f.Verdict == v {
			n++
		}
	}
	return n
}

// A question is one thing that is assumed.
type question struct {
	id, asks, fake string
	limit          time.Duration // of the answer from one stream
	ask            func(context.Context, *subject) (seen string, same bool, err error)
}

// usualLimit is how long a question may take that does not wait for the camera.
const usualLimit = 30 * time.Second

// questions returns all questions in the order in which they are asked. The one that has
// requests throttled is the last.
func questions() []question {
	return []question{
		{"clock", "how far is the host's clock from the service's?", "less than a second", usualLimit, askClock},
		{
			"list-page", "how many names does a page of ListStreams hold?",
			"10 without MaxResults, and up to 1,000 with it", usualLimit, askLists,
		},
		{
			"running-fragment", "does a window skip the fragment that is running when it opens?",
			"yes: it has no images before the next fragment begins", usualLimit, askRunning,
		},
		{
			"page", "how many images does a page hold, if 100 are asked for?",
			"25, and then a token", usualLimit, askPage,
		},
		{"order", "do images come in the order of their time?", "yes", usualLimit, askOrder},
		{"twice", "does each image come once?", "yes", usualLimit, askTwice},
		{"off-grid", "do images have the timestamps that were asked for?", "yes, to the millisecond", usualLimit, askGrid},
		{
			"slow-camera", "does each instant have a picture of its own, five times a second?",
			"yes: the camera has a frame for each", usualLimit, askFrames,
		},
		{
			"empty-window", "what is the answer to a window without visible fragments?",
			"ResourceNotFoundException", usualLimit, askEmpty,
		},
		{
			"edge", "what comes for instants at the live edge, whose media is not visible yet?",
			"NO_MEDIA, and a picture some seconds later", 90 * time.Second, askEdge,
		},
		{
			"delay", "when does media become visible?",
			fmt.Sprintf("a whole fragment at a time, at most %v after its end", usualDelay), 3 * time.Minute, askDelay,
		},
		{
			"aspect", "what becomes of an image that is to be resized to another aspect?",
			"it is stretched to exactly that size", usualLimit, askAspect,
		},
		{
			"throttle", "what throttles, and when?",
			"ClientLimitExceededException, at 10,000 points a second of which each request takes 400", usualLimit, askThrottle,
		},
	}
}

// Ask asks all questions. None of them stops the others, and each has a deadline. The error
// is ctx's, and the report has what was found until then.
func Ask(ctx context.Context, o Options) (Report, error) {
	p := forecast.NewPurse(o.Images)
	var subjects []*subject
	for _, s := range o.Streams[:min(len(o.Streams), MaxStreams)] {
		subjects = append(subjects, newSubject(o, s, p))
	}
	report := Report{Streams: len(subjects)}
	for _, q := range questions() {
		f := q.of(ctx, subjects)
		if ctx.Err() != nil {
			break
		}
		report.Findings = append(report.Findings, f)
		if o.Found != nil {
			o.Found(f)
		}
	}
	report.Images = p.Spent()
	return report, ctx.Err()
}

// of asks one stream after the other until one can tell.
func (q question) of(ctx context.Context, subjects []*subject) Finding {
	f := Finding{ID: q.id, Question: q.asks, Fake: q.fake, Verdict: Unknown, Why: "there is no stream to ask"}
	for i, s := range subjects {
		ctx, cancel := context.WithTimeout(ctx, q.limit)
		seen, same, err := q.ask(ctx, s)
		late := ctx.Err() != nil
		cancel()
		if err != nil {
			f.Seen, f.Why = seen, why(err, late, q.limit)
			continue
		}
		f.Seen, f.Verdict, f.Why, f.Stream = seen, Different, "", i+1
		if same {
			f.Verdict = Same
		}
		break
	}
	return f
}

// An untold says in words why something could not be told.
type untold string

func (u untold) Error() string { return string(u) }

// untoldf returns an error that says why something could not be told. It must not have
// anything of the account in it.
func untoldf(format string, args ...any) error { return untold(fmt.Sprintf(format, args...)) }

// why says why something could not be told, without anything of the account.
func why(err error, late bool, limit time.Duration) string {
	for _, known := range []error{errSpent, forecast.ErrNoMedia, forecast.ErrNothingNew} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	var said untold
	switch {
	case errors.As(err, &said):
		return said.Error()
	case late:
		return fmt.Sprintf("it was not seen within %v", limit)
	case kinesis.Label(err) == noAnswer:
		return "a request was not answered"
	}
	return "a request was answered with " + kinesis.Label(err)
}

// noAnswer is the label of an error that is not an answer of the service.
const noAnswer = "error"
