package kinesistest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A setting is one of [Faults] by name, as in a list of faults that a user writes.
type setting struct {
	name  string
	value any           // *float64, *time.Duration, *int or *bool
	usual string        // the value if only the name is given; empty for true
	most  time.Duration // the largest value; a plain number for *int; below 0 if values may be, too
	help  string
}

// settings returns the settings of f.
func (f *Faults) settings() []setting {
	return slices.Concat(f.mediaSettings(), f.pageSettings(), f.requestSettings(), f.streamSettings(), f.Variants.settings(), f.listSettings())
}

func (f *Faults) mediaSettings() []setting {
	return []setting{
		{"jitter", &f.Jitter, "1s", maxSpan, "longest extra delay until a fragment becomes visible"},
		{"late", &f.Late, "0.05", 0, "share of fragments that become visible much later than others"},
		{"late-by", &f.LateBy, "10s", maxSpan, "longest extra delay of these fragments"},
		{"later", &f.Later, "30s", maxSpan, "largest extra delay of all fragments of a time"},
		{"later-every", &f.LaterEvery, "10m", maxSpan, "how often that delay changes"},
		{"never", &f.Never, "0.01", 0, "share of fragments that never become visible"},
		{"media-errors", &f.MediaErrors, "0.02", 0, "share of the time whose images are all MEDIA_ERROR"},
		{"outages", &f.Outages, "0.02", 0, "share of the time without media"},
		{"stretch", &f.Stretch, "10s", maxSpan, "length of each such time, and of those of updating and expired-credentials"},
		{"early-errors", &f.EarlyErrors, "0.02", 0, "share of fragments whose images are MEDIA_ERROR at first"},
		{"early-bare", &f.EarlyBare, "0.02", 0, "share of fragments whose images have neither content nor error at first"},
		{"early-empty", &f.EarlyEmpty, "0.02", 0, "share of fragments whose images have an empty content at first"},
		{"early-for", &f.EarlyFor, "1s", maxSpan, "how long after a fragment became visible this lasts"},
		{"frame-every", &f.FrameEvery, "2s", maxSpan, "time between the camera's frames, 0 for one at any instant"},
		{"frame-jitter", &f.FrameJitter, "200ms", maxSpan, "longest extra time until such a frame comes"},
		{"frame-drops", &f.FrameDrops, "0.02", 0, "share of these frames that are missing"},
		{"frame-times", &f.FrameTimes, "", 0, "give images the timestamp of their frame"},
		{"frame-gaps", &f.FrameGaps, "", 0, "answer NO_MEDIA between these frames"},
		{"behind", &f.Behind, "30s", -maxOff, "how far the camera's clock is behind, or ahead if negative"},
		{"clock", &f.Clock, "3s", maxClock, "largest error of the camera's clock, ahead or behind"},
		{"clock-every", &f.ClockEvery, "1m", maxSpan, "how often that error changes"},
		{"drift", &f.Drift, "500ms", maxClock, "how much the camera's clock loses before it jumps or is set right"},
		{"uploads", &f.Uploads, "0.05", 0, "share of the time whose footage is uploaded later"},
		{"upload-after", &f.UploadAfter, "1h", maxSpan, "how much later it is uploaded"},
		{"upload-for", &f.UploadFor, "1m", maxSpan, "length of each such time"},
		{"skew", &f.Skew, "40s", -maxSkew, "how far the service's clock is ahead, or behind if negative"},
		{"skew-drift", &f.SkewDrift, "0.0001", 0, "seconds that the service's clock gains each second"},
		{"skew-jump", &f.SkewJump, "1m", maxSkew, "how far the service's clock jumps, ahead or back"},
		{"skew-for", &f.SkewFor, "20s", maxSpan, "how long after a jump it jumps back"},
		{"skew-every", &f.SkewEvery, "10m", maxSpan, "how often it jumps"},
	}
}

func (f *Faults) pageSettings() []setting {
	return []setting{
		{"hidden", &f.Hidden, "0.05", 0, "share of pages without media although there is some"},
		{"hidden-fragments", &f.HiddenFragments, "0.05", 0, "share of its fragments that a page leaves out"},
		{"unordered", &f.Unordered, "0.2", 0, "share of pages whose images are in random order"},
		{"duplicates", &f.Duplicates, "0.05", 0, "share of images that come twice"},
		{"no-picture", &f.NoPicture, "0.02", 0, "share of images that an answer happens to have no picture of"},
		{"error-first", &f.ErrorFirst, "0.05", 0, "share of images that come after a MEDIA_ERROR for the same time"},
		{"off-grid", &f.OffGrid, "40ms", maxOffGrid, "largest error of the timestamps of images"},
		{"outside", &f.Outside, "0.05", 0, "share of pages that have an image from outside the window"},
		{"empty-pages", &f.EmptyPages, "0.05", 0, "share of pages that are preceded by empty pages"},
		{"empty-run", &f.EmptyRun, "6", maxRun, "number of empty pages in a row"},
		{"page-size", &f.PageSize, "12", poll.PageSlots, "largest number of images on a page"},
		{"token-life", &f.TokenLife, "10s", maxSpan, "how long a continuation token can be used"},
		{"bad-tokens", &f.BadTokens, "0.05", 0, "share of GetImages requests whose token is refused although it is valid"},
	}
}

func (f *Faults) requestSettings() []setting {
	return []setting{
		{"throttle", &f.Throttle, "", 0, "enforce the documented limits"},
		{"others", &f.Others, "0.3", 0, "average share of these limits that other clients use up"},
		{"throttle-endpoint", &f.ThrottleEndpoint, "0.2", 0, "share of GetDataEndpoint requests that are throttled at any rate"},
		{"errors", &f.Errors, "0.02", 0, "share of requests that fail with a 500 or 503"},
		{"resets", &f.Resets, "0.02", 0, "share of requests whose connection is reset"},
		{"cuts", &f.Cuts, "0.02", 0, "share of answers that break off in the middle"},
		{"slow", &f.Slow, "0.02", 0, "share of answers that begin late"},
		{"trickle", &f.Trickle, "0.02", 0, "share of answers that come in small pieces"},
		{"slow-by", &f.SlowBy, "5s", maxSpan, "longest delay of a slow answer, and longest time that a trickling one takes"},
		{"hang-describe", &f.HangDescribe, "0.01", 0, "share of DescribeStream requests that are never answered"},
		{"hang-endpoint", &f.HangEndpoint, "0.01", 0, "share of GetDataEndpoint requests that are never answered"},
		{"hang-list", &f.HangList, "0.01", 0, "share of ListStreams requests that are never answered"},
		{"hang-fragments", &f.HangFragments, "0.01", 0, "share of ListFragments requests that are never answered"},
		{"hang-images", &f.HangImages, "0.005", 0, "share of GetImages requests that are never answered"},
		{"stalls", &f.Stalls, "0.005", 0, "share of answers that begin and never end"},
		{"no-date", &f.NoDate, "0.1", 0, "share of answers without the header Date"},
		{"no-images", &f.NoImages, "0.01", 0, "share of GetImages requests that are answered without Images"},
		{"rotate", &f.Rotate, "5m", maxSpan, "how long a data endpoint works"},
		{"dead-answers", &f.DeadAnswers, "5", mostDeadWays, "how it answers after that: 0 with errors, 1 to 4 as if there were no media, 5 in all these ways"},
	}
}

func (f *Faults) streamSettings() []setting {
	return []setting{
		{"updating", &f.Updating, "0.05", 0, "share of the time in which a stream is UPDATING"},
		{"recreate", &f.Recreate, "20m", maxSpan, "how often a stream is deleted with its media and created again, with other data endpoints"},
		{"no-retention", &f.NoRetention, "30m", maxSpan, "how often a stream's retention is set to 0 for a while, which deletes its media"},
		{"away-for", &f.AwayFor, "20s", maxSpan, "how long each of these two takes"},
		{"halve", &f.Halve, "40m", maxSpan, "how often half of the retention is taken away for half of this time"},
		{"expired-credentials", &f.ExpiredCredentials, "0.01", 0, "share of the time in which the credentials count as expired"},
	}
}

// set sets the value to what the user wrote.
func (s setting) set(text string) error {
	var err error
	switch v := s.value.(type) {
	case *float64:
		*v, err = strconv.ParseFloat(text, 64)
	case *time.Duration:
		*v, err = time.ParseDuration(text)
	case *int:
		*v, err = strconv.Atoi(text)
	case *bool:
		*v, err = strconv.ParseBool(text)
	}
	if err != nil {
		return fmt.Errorf("%s=%s: it must be %s", s.name, text, s.kind())
	}
	return s.check()
}

func (s setting) kind() string {
	switch s.value.(type) {
	case *float64:
		return "a share from 0 to 1"
	case *time.Duration:
		return fmt.Sprintf("whole milliseconds up to %s, such as %s", short(s.most.Abs()), s.usual)
	case *int:
		return fmt.Sprintf("a whole number up to %d", s.most)
	default:
		return "true or false"
	}
}

// check returns an error if the value is impossible.
func (s setting) check() error {
	ok := true
	switch v := s.value.(type) {
	case *float64:
		ok = *v >= 0 && *v <= 1 // not NaN
	case *time.Duration:
		ok = *v >= min(s.most, 0) && *v <= s.most.Abs() && *v%time.Millisecond == 0
	case *int:
		ok = *v >= 0 && *v <= int(s.most)
	}
	if !ok {
		return fmt.Errorf("%s=%s: it must be %s", s.name, s.text(), s.kind())
	}
	return nil
}

// text returns the value as the user writes it, "" for zero.
func (s setting) text() string {
	switch v := s.value.(type) {
	case *float64:
		if *v != 0 {
			return strconv.FormatFloat(*v, 'g', -1, 64)
		}
	case *time.Duration:
		if *v != 0 {
			return short(*v)
		}
	case *int:
		if *v != 0 {
			return strconv.Itoa(*v)
		}
	case *bool:
		if *v {
			return "true"
		}
	}
	return ""
}

// short writes 1m as 1m and not as 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// ParseFaults reads a list such as "throttle,late=0.1,rotate=1m": names that [FaultsHelp]
// explains, each with a value or alone for its usual value. "all" stands for everything
// at its usual value except deny-list-fragments and frame-every; what follows it changes
// that, so "all,late=0" is all but late. The empty list has no faults.
func ParseFaults(list string) (Faults, error) {
	var f Faults
	if strings.TrimSpace(list) == "" {
		return f, nil
	}
	settings := f.settings()
	for item := range strings.SplitSeq(list, ",") {
		name, value, hasValue := strings.Cut(strings.TrimSpace(item), "=")
		if name == "all" && !hasValue {
			for _, s := range settings {
				if s.name != "deny-list-fragments" && s.name != "frame-every" {
					_ = s.setUsual() // the usual values are possible: a test holds that
				}
			}
			continue
		}
		i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
		if i < 0 {
			return f, fmt.Errorf("%q is none of the faults: all, %s", name, names(settings))
		}
		err := settings[i].setUsual()
		if hasValue {
			err = settings[i].set(value)
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// setUsual sets the value to what the name alone stands for.
func (s setting) setUsual() error {
	if s.usual == "" {
		return s.set("true")
	}
	return s.set(s.usual)
}

func names(settings []setting) string {
	all := make([]string, len(settings))
	for i, s := range settings {
		all[i] = s.name
	}
	return strings.Join(all, ", ")
}

// String returns the faults as the list that [ParseFaults] reads.
func (f Faults) String() string {
	var on []string
	for _, s := range f.settings() {
		switch text := s.text(); text {
		case "":
		case "true":
			on = append(on, s.name)
		default:
			on = append(on, s.name+"="+text)
		}
	}
	return strings.Join(on, ",")
}

// FaultNames returns the names that [ParseFaults] reads.
func FaultNames() []string {
	all := []string{"all"}
	for _, s := range new(Faults).settings() {
		all = append(all, s.name)
	}
	return all
}

// FaultsHelp returns a line for each fault: its name, its usual value, and what it
// does.
func FaultsHelp() string {
	var b strings.Builder
	for _, s := range new(Faults).settings() {
		usage := s.name
		if s.usual != "" {
			usage += "=" + s.usual
		}
		fmt.Fprintf(&b, "  %-24s %s\n", usage, s.help)
	}
	return b.String()
}
