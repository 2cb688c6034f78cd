package kinesistest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A knob is one of [Faults] by name, as in a list of faults that a user writes.
type knob struct {
	name  string
	value any    // *float64, *time.Duration or *bool
	usual string // what the name alone stands for; empty for true
	most  time.Duration
	help  string
}

// knobs returns the knobs that turn f.
func (f *Faults) knobs() []knob {
	return []knob{
		{"jitter", &f.Jitter, "1s", maxSpan, "a fragment becomes visible later by up to this"},
		{"late", &f.Late, "0.05", 0, "share of fragments that are visible much later"},
		{"late-by", &f.LateBy, "10s", maxSpan, "at most so much later"},
		{"never", &f.Never, "0.01", 0, "share of fragments that are never visible"},
		{"media-errors", &f.MediaErrors, "0.02", 0, "share of the time whose media has no keyframes"},
		{"outages", &f.Outages, "0.02", 0, "share of the time without media"},
		{"stretch", &f.Stretch, "10s", maxSpan, "length of these two at a time"},
		{"clock", &f.Clock, "3s", maxClock, "the camera's clock is off by up to this"},
		{"clock-every", &f.ClockEvery, "1m", maxSpan, "and jumps so often"},
		{"unordered", &f.Unordered, "0.2", 0, "share of pages in no order"},
		{"duplicates", &f.Duplicates, "0.05", 0, "share of images that come twice"},
		{"off-grid", &f.OffGrid, "40ms", maxOffGrid, "timestamps are off by up to this"},
		{"outside", &f.Outside, "0.05", 0, "share of pages with an image from outside of the window"},
		{"empty-pages", &f.EmptyPages, "0.05", 0, "share of pages with nothing but a token"},
		{"token-life", &f.TokenLife, "10s", maxSpan, "tokens expire after this"},
		{"bad-tokens", &f.BadTokens, "0.05", 0, "share of tokens that are refused"},
		{"throttle", &f.Throttle, "", 0, "the documented limits are enforced"},
		{"others", &f.Others, "0.3", 0, "share of the points that other clients use"},
		{"throttle-endpoint", &f.ThrottleEndpoint, "0.2", 0, "share of GetDataEndpoint requests that are throttled"},
		{"errors", &f.Errors, "0.02", 0, "share of requests that get a 500 or 503"},
		{"resets", &f.Resets, "0.02", 0, "share of requests whose connection is reset"},
		{"cuts", &f.Cuts, "0.02", 0, "share of answers that end in the middle"},
		{"slow", &f.Slow, "0.02", 0, "share of answers that begin late"},
		{"trickle", &f.Trickle, "0.02", 0, "share of answers that come in small pieces"},
		{"slow-by", &f.SlowBy, "5s", maxSpan, "what these two take, at most"},
		{"no-images", &f.NoImages, "0.01", 0, "share of GetImages answers without Images"},
		{"rotate", &f.Rotate, "5m", maxSpan, "data endpoints die after this"},
		{"deny-list-fragments", &f.DenyListFragments, "", 0, "ListFragments is not permitted"},
	}
}

// set turns the knob to what the user wrote.
func (k knob) set(text string) error {
	var err error
	switch v := k.value.(type) {
	case *float64:
		*v, err = strconv.ParseFloat(text, 64)
	case *time.Duration:
		*v, err = time.ParseDuration(text)
	case *bool:
		*v, err = strconv.ParseBool(text)
	}
	if err != nil {
		return fmt.Errorf("%s=%s: it must be %s", k.name, text, k.kind())
	}
	return k.check()
}

func (k knob) kind() string {
	switch k.value.(type) {
	case *float64:
		return "a share from 0 to 1"
	case *time.Duration:
		return fmt.Sprintf("whole milliseconds up to %s, such as %s", short(k.most), k.usual)
	default:
		return "true or false"
	}
}

// check tells whether the value is possible.
func (k knob) check() error {
	ok := true
	switch v := k.value.(type) {
	case *float64:
		ok = *v >= 0 && *v <= 1 // not NaN
	case *time.Duration:
		ok = *v >= 0 && *v <= k.most && *v%time.Millisecond == 0
	}
	if !ok {
		return fmt.Errorf("%s=%s: it must be %s", k.name, k.text(), k.kind())
	}
	return nil
}

// text is the knob's value; empty where it is zero.
func (k knob) text() string {
	switch v := k.value.(type) {
	case *float64:
		if *v != 0 {
			return strconv.FormatFloat(*v, 'g', -1, 64)
		}
	case *time.Duration:
		if *v != 0 {
			return short(*v)
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

// ParseFaults reads a list such as "throttle,late=0.1,rotate=1m": names that
// [FaultsHelp] explains, each alone for its usual value or with one. "all" stands
// for everything at its usual value but deny-list-fragments; what follows it
// changes that, "late=0" takes late out. The empty list is none.
func ParseFaults(list string) (Faults, error) {
	var f Faults
	if strings.TrimSpace(list) == "" {
		return f, nil
	}
	knobs := f.knobs()
	for item := range strings.SplitSeq(list, ",") {
		name, value, hasValue := strings.Cut(strings.TrimSpace(item), "=")
		if name == "all" && !hasValue {
			for _, k := range knobs {
				if k.name != "deny-list-fragments" {
					_ = k.turnOn() // the usual values are possible: a test holds that
				}
			}
			continue
		}
		i := slices.IndexFunc(knobs, func(k knob) bool { return k.name == name })
		if i < 0 {
			return f, fmt.Errorf("%q is none of the faults: all, %s", name, names(knobs))
		}
		err := knobs[i].turnOn()
		if hasValue {
			err = knobs[i].set(value)
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// turnOn gives the knob its usual value.
func (k knob) turnOn() error {
	if k.usual == "" {
		return k.set("true")
	}
	return k.set(k.usual)
}

func names(knobs []knob) string {
	all := make([]string, len(knobs))
	for i, k := range knobs {
		all[i] = k.name
	}
	return strings.Join(all, ", ")
}

// String returns the faults as the list that [ParseFaults] reads.
func (f Faults) String() string {
	var on []string
	for _, k := range f.knobs() {
		switch text := k.text(); text {
		case "":
		case "true":
			on = append(on, k.name)
		default:
			on = append(on, k.name+"="+text)
		}
	}
	return strings.Join(on, ",")
}

// FaultsHelp returns a line for each fault: its name, its usual value, and what it
// does.
func FaultsHelp() string {
	var b strings.Builder
	for _, k := range new(Faults).knobs() {
		usage := k.name
		if k.usual != "" {
			usage += "=" + k.usual
		}
		fmt.Fprintf(&b, "  %-22s %s\n", usage, k.help)
	}
	return b.String()
}
