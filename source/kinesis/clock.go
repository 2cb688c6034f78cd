package kinesis

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	// dateStep is the resolution of the header Date.
	dateStep = time.Second
	// Between two answers, the difference of the clocks may change by usualDrift of the
	// time that has passed: so much does NTP change the speed of a clock, at most. Answers
	// agree if they differ by no more than apart and mostDrift, because not all hosts of the
	// service have quite the same time, and some clocks are bad.
	usualDrift = 500e-6
	mostDrift  = 0.02
	apart      = 2 * time.Second
	// convincing is how many answers it takes to believe that the time has changed, if
	// those before agreed with one another.
	convincing = 4
	// forwardTime is for how long they must say so if time has gone ahead. Being behind
	// costs age only, but slots that have not been yet would be given up as missing.
	forwardTime = time.Minute
	// The years of a Date that may be true.
	firstYear, lastYear = 1990, 2200
	// tellOffset is from which difference on the host's clock is said to be wrong, and
	// toldOffset up to which it is said to be right again.
	tellOffset = time.Second
	toldOffset = time.Second / 2
	// tellBlank is after how many answers without a Date the host's clock counts, which is
	// said, if none has had one.
	tellBlank = 10
	// futureBy is how far ahead what certainly has not been yet is.
	futureBy = 10 * time.Second
)

// A clock tells the service's time. It learns that from the header Date of each answer, and
// counts on by the monotonic clock, so that nothing that happens to the host's clock
// changes it. Before the first answer it is the host's clock as it was at the start.
//
// As with Cristian's algorithm (1989), an answer gives bounds: when it was written, some time
// between sending the request and receiving the answer, the service's time was from Date up
// to a second later. Answers that agree narrow the bounds. One that does not is only
// believed when enough others agree with it: it may come from a cache, or from a host whose
// clock is wrong.
type clock struct {
	began time.Time        // with a monotonic reading
	host  time.Time        // the host's time then
	wall  func() time.Time // the host's clock
	log   *slog.Logger

	mu     sync.Mutex
	offset time.Duration // of the service's time from host, counted on monotonically
	known  bounds
	former bounds        // what was known before
	doubt  bounds        // what answers say that do not agree with what is known
	trust  int           // how many more answers have agreed than not
	blank  int           // answers in a row without a Date, as long as there was none with it
	told   time.Duration // the last difference that was logged, 0 if it is over
}

// bounds are those of a clock's offset, by answers that agree.
type bounds struct {
	low, high   time.Duration
	first, last time.Duration // when the answers came, since the clock began
	answers     int
}

func newClock(wall func() time.Time, log *slog.Logger) *clock {
	return &clock{began: time.Now(), host: wall().Round(0), wall: wall, log: log}
}

// at returns the service's time at an instant of this process, such as time.Now().
func (c *clock) at(t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.host.Add(t.Sub(c.began) + c.offset)
}

// ahead returns how far the host's clock is ahead of the service's.
func (c *clock) ahead() time.Duration { return c.wall().Round(0).Sub(c.at(time.Now())) }

// answers returns how many answers agree on the time.
func (c *clock) answers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known.answers
}

// unsure tells whether some of the last answers have another time, or none has told it yet.
// If that goes on, the host's clock has to do.
func (c *clock) unsure() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.doubt.answers > 0 || c.known.answers == 0 && c.blank < tellBlank
}

// observe has the clock learn from the answer to each attempt of a request.
func (c *clock) observe(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("Clock",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			sent := time.Now()
			out, meta, err := next.HandleDeserialize(ctx, in)
			// An answer with an Age comes from a cache. Where there was no answer, the SDK
			// gives an empty one.
			if resp, ok := out.RawResponse.(*smithyhttp.Response); ok && resp.StatusCode != 0 && resp.Header.Get("Age") == "" {
				c.answered(sent, time.Now(), resp.Header.Get("Date"))
			}
			return out, meta, err
		}), middleware.After)
}

// answered takes note of the Date of an answer. One that cannot be true says nothing.
func (c *clock) answered(sent, received time.Time, date string) {
	at, err := http.ParseTime(date)
	if date == "" {
		c.withoutDate()
	}
	if err != nil || at.Year() < firstYear || at.Year() > lastYear {
		return
	}
	host := c.wall().Round(0).Sub(c.host) - received.Sub(c.began)
	c.mu.Lock()
	off, came := at.Sub(c.host), received.Sub(c.began)
	c.learn(bounds{low: off - came, high: off + dateStep - sent.Sub(c.began), first: came, last: came, answers: 1}, host)
	c.mu.Unlock()
	if !c.unsure() {
		c.tell()
	}
}

// withoutDate takes note of an answer that does not tell the time, and warns if that is usual:
// something on the way, such as a proxy, may take the header away.
func (c *clock) withoutDate() {
	c.mu.Lock()
	c.blank++
	tell := c.known.answers == 0 && c.blank == tellBlank && c.log != nil
	c.mu.Unlock()
	if tell {
		c.log.Warn("the answers of the service have no Date, so frames are asked for by the host's clock: if it is wrong, they come late or are given up", "answers", tellBlank)
	}
}

// learn takes note of an answer's bounds. host is how far the host's clock has moved from
// the monotonic one.
func (c *clock) learn(a bounds, host time.Duration) {
	switch {
	case c.known.answers == 0:
		c.known, c.trust = a, 1
	case c.known.agree(a):
		if c.trust = min(c.trust+1, convincing); c.trust == convincing {
			c.doubt = bounds{}
		}
	default:
		if c.doubt.answers == 0 || !c.doubt.agree(a) {
			c.doubt = a
		}
		c.trust = max(c.trust-1, 0)
		if !c.convinced(host) {
			return
		}
		c.former, c.known, c.doubt = c.known, c.doubt, bounds{}
		c.trust = min(c.known.answers, convincing)
	}
	switch low, high := c.known.low, c.known.high; {
	case c.offset < low-dateStep, c.offset > high+dateStep:
		c.offset = low + (high-low)/2
	default:
		c.offset = min(max(c.offset, low), high)
	}
}

// convinced tells whether what was doubted is the time. That it has gone ahead is believed
// at once if it was known for longer before it went back, or if the host's clock says the
// same: the machine was suspended, and the monotonic clock with it.
func (c *clock) convinced(host time.Duration) bool {
	d := c.doubt
	if c.trust > 0 || d.answers < 2 {
		return false
	}
	suspended := host > d.low-apart && host < d.high+apart
	before := c.former
	returned := before.answers > 0 && before.agree(d) && c.former.last-c.former.first > d.last-c.known.first
	return c.known.answers == 1 || d.high < c.known.low || suspended || returned || d.last-d.first >= forwardTime
}

// agree narrows the bounds by those of an answer, and returns false if it does not agree.
func (b *bounds) agree(a bounds) bool {
	passed := max(a.last-b.last, 0)
	drift := time.Duration(float64(passed) * usualDrift)
	low, high := b.low-drift, b.high+drift
	switch off := max(a.low-high, low-a.high); {
	case off <= 0:
		b.low, b.high = max(low, a.low), min(high, a.high)
	case off <= apart+time.Duration(float64(passed)*mostDrift):
		b.low, b.high = a.low, a.high
	default:
		return false
	}
	b.last = max(b.last, a.last)
	b.answers++
	return true
}

// tell logs that the host's clock is wrong, that this has changed much, or that it is over.
func (c *clock) tell() {
	if c.log == nil {
		return
	}
	ahead := c.ahead()
	c.mu.Lock()
	told := c.told
	switch {
	case ahead.Abs() <= toldOffset:
		c.told = 0
	case ahead.Abs() > tellOffset && (told == 0 || (ahead-told).Abs() > max(tellOffset, told.Abs()/10)):
		c.told = ahead
	}
	now := c.told
	c.mu.Unlock()
	switch {
	case now == told:
	case now == 0:
		c.log.Info("the host's clock agrees with the service's again", "reason", clockReason(told))
	case now > 0:
		c.log.Warn("the host's clock is ahead of the service's, by whose time frames are asked for: set it, for example with NTP", "reason", clockReason(now), "ahead", now.Round(dateStep/10))
	default:
		c.log.Warn("the host's clock is behind the service's, by whose time frames are asked for: set it, for example with NTP", "reason", clockReason(now), "behind", -now.Round(dateStep/10))
	}
}

// clockReason is the name of the reason that the host's clock is ahead by so much.
func clockReason(ahead time.Duration) string {
	if ahead < 0 {
		return "clock_behind"
	}
	return "clock_ahead"
}

// Now returns the present by the service's clock, as its answers tell it; before the first
// answer, by the host's. It counts on by the monotonic clock: setting the host's clock does
// not change it. Media and slots have the service's time, so compare them with this.
func (c *Client) Now() time.Time { return c.clock.at(time.Now()) }

// At returns the service's time at an instant that this process has got from time.Now.
func (c *Client) At(t time.Time) time.Time { return c.clock.at(t) }

// Unsure tells whether [Client.Now] may be wrong: no answer has told the time yet, or some of
// the service's last answers disagree with it, as its clock may have jumped. That lasts for a
// minute at most, unless they disagree with one another as well.
func (c *Client) Unsure() bool { return c.clock.unsure() }

// ClockOffset returns how far the host's clock is ahead of the service's; negative if it is
// behind, 0 before the first answer.
func (c *Client) ClockOffset() time.Duration {
	if c.clock.answers() == 0 {
		return 0
	}
	return c.clock.ahead()
}

// TimeTold tells whether any answer has told the service's time.
func (c *Client) TimeTold() bool { return c.clock.answers() > 0 }

// TimeKnown tells whether the service's time is known for certain: by answers that agree.
func (c *Client) TimeKnown() bool { return c.clock.answers() > 1 }

// Future tells whether t is certainly in the service's future, by more than ten seconds.
func (c *Client) Future(t time.Time) bool { return c.TimeKnown() && t.Sub(c.Now()) > futureBy }
