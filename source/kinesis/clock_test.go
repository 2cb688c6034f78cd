package kinesis

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A clockRig is a clock, the service that it listens to, and the host's clock. All times are
// relative to the time of the bubble.
type clockRig struct {
	*clock
	service, host time.Duration
	log           bytes.Buffer
	random        *rand.Rand
}

func newClockRig(service, host time.Duration) *clockRig {
	r := &clockRig{service: service, host: host, random: rand.New(rand.NewPCG(1, 2))}
	r.clock = newClock(func() time.Time { return time.Now().Add(r.host) }, slog.New(slog.NewTextHandler(&r.log, nil)))
	return r
}

// answer has the service answer after up to 100 ms, somewhere between which it reads its
// clock, which is off by so much more.
func (r *clockRig) answer(off time.Duration) {
	sent := time.Now()
	time.Sleep(time.Duration(r.random.IntN(50)) * time.Millisecond)
	date := time.Now().Add(r.service + off).UTC().Format(http.TimeFormat)
	time.Sleep(time.Duration(r.random.IntN(50)) * time.Millisecond)
	r.answered(sent, time.Now(), date)
}

// run has the service answer every two seconds or so.
func (r *clockRig) run(length time.Duration) {
	for begin := time.Now(); time.Since(begin) < length; {
		r.answer(0)
		time.Sleep(1500*time.Millisecond + time.Duration(r.random.IntN(1000))*time.Millisecond)
	}
}

// off returns how far the clock is ahead of the service's.
func (r *clockRig) off() time.Duration {
	now := time.Now()
	return r.at(now).Sub(now) - r.service
}

// near fails if the clock is off by more than the given time.
func (r *clockRig) near(t *testing.T, limit time.Duration, when string) {
	t.Helper()
	if off := r.off(); off.Abs() > limit {
		t.Errorf("%s: the clock is off by %v", when, off)
	}
}

// logged fails unless the log has so many warnings and so many lines that all is well.
func (r *clockRig) logged(t *testing.T, warnings, infos int) {
	t.Helper()
	text := r.log.String()
	if w, i := strings.Count(text, "level=WARN"), strings.Count(text, "level=INFO"); w != warnings || i != infos {
		t.Errorf("%d warnings and %d other lines, want %d and %d:\n%s", w, i, warnings, infos, text)
	}
}

func TestClockOffsets(t *testing.T) {
	for _, host := range []time.Duration{
		0, 700 * time.Millisecond, 40 * time.Second, -40 * time.Second, 10 * time.Minute, -10 * time.Minute, 5e5 * time.Hour, -2e5 * time.Hour,
	} {
		t.Run(host.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newClockRig(3*time.Minute, host+3*time.Minute)
				if r.off().Abs() > host.Abs()+time.Millisecond {
					t.Errorf("before the first answer it is off by %v", r.off())
				}
				r.answer(0)
				r.near(t, 1100*time.Millisecond, "after the first answer")
				r.run(time.Minute)
				r.near(t, 200*time.Millisecond, "after a minute")
				r.run(time.Hour)
				r.near(t, 200*time.Millisecond, "after an hour")
				if ahead := r.ahead(); (ahead - host).Abs() > 200*time.Millisecond {
					t.Errorf("the host's clock is said to be ahead by %v", ahead)
				}
				warnings := 1
				if host.Abs() < time.Second {
					warnings = 0
				}
				r.logged(t, warnings, 0)
			})
		})
	}
}

// TestClockWhoseHostIsSet: whatever happens to the host's clock, the service's time goes on.
func TestClockWhoseHostIsSet(t *testing.T) {
	for _, jump := range []time.Duration{time.Minute, time.Hour, -time.Hour, 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newClockRig(0, 0)
				r.run(time.Minute)
				r.logged(t, 0, 0)
				r.host = jump
				r.near(t, 200*time.Millisecond, "when the host's clock has jumped")
				r.run(time.Minute)
				r.near(t, 200*time.Millisecond, "a minute later")
				r.logged(t, 1, 0)
				r.host = 0
				r.run(10 * time.Second)
				r.near(t, 200*time.Millisecond, "when it has jumped back")
				r.logged(t, 1, 1)
			})
		})
	}
}

// TestClockOfAServiceThatJumps: a time that goes back is followed within seconds, and one
// that goes ahead if it stays there.
func TestClockOfAServiceThatJumps(t *testing.T) {
	for _, tc := range []struct {
		jump, length time.Duration
		within       time.Duration // the longest time until it is followed, 0 for never
	}{
		{jump: time.Minute, length: 10 * time.Second},
		{jump: time.Hour, length: 20 * time.Second},
		{jump: 24 * time.Hour, length: 50 * time.Second},
		{jump: time.Hour, length: 10 * time.Minute, within: 70 * time.Second},
		{jump: -time.Hour, length: 20 * time.Second, within: 10 * time.Second},
		{jump: -time.Minute, length: 10 * time.Minute, within: 10 * time.Second},
		{jump: time.Second, length: 20 * time.Second, within: 3 * time.Second},
	} {
		t.Run(tc.jump.String()+" for "+tc.length.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newClockRig(0, 0)
				r.run(5 * time.Minute)
				r.service = tc.jump
				begin := time.Now()
				for time.Since(begin) < tc.length {
					r.run(time.Second)
					switch follows := r.off().Abs() < 1200*time.Millisecond; {
					case tc.within == 0 && follows:
						t.Errorf("the jump was followed after %v", time.Since(begin))
					case tc.within != 0 && !follows && time.Since(begin) > tc.within:
						t.Errorf("after %v the clock is off by %v", time.Since(begin), r.off())
					}
				}
				r.service = 0
				r.run(15 * time.Second) // it was the time for longer than the jump lasted
				if tc.length < 5*time.Minute {
					r.near(t, 1200*time.Millisecond, "seconds after the jump")
				}
				r.run(55 * time.Second)
				r.near(t, 200*time.Millisecond, "a minute after the jump")
			})
		})
	}
}

// TestClockOfASuspendedMachine: the monotonic clock has stood still, and the host's has not.
func TestClockOfASuspendedMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newClockRig(0, 0)
		r.run(5 * time.Minute)
		r.service, r.host = 3*time.Hour, 3*time.Hour
		r.run(10 * time.Second)
		r.near(t, 600*time.Millisecond, "ten seconds after it was woken")
		r.logged(t, 0, 0)
	})
}

func TestClockThatDrifts(t *testing.T) {
	for _, drift := range []float64{1e-4, -1e-4, 1e-3, 1e-2, -1e-2} {
		synctest.Test(t, func(t *testing.T) {
			r := newClockRig(0, 0)
			begin := time.Now()
			for time.Since(begin) < time.Hour {
				r.service = time.Duration(drift * float64(time.Since(begin)))
				r.run(time.Second)
				if off := r.off(); off.Abs() > 1100*time.Millisecond {
					t.Fatalf("drift %v: after %v the clock is off by %v", drift, time.Since(begin), off)
				}
			}
		})
	}
}

// TestClockThatIsLiedTo: a single Date, and even each tenth, makes no difference.
func TestClockThatIsLiedTo(t *testing.T) {
	for _, lie := range []time.Duration{time.Minute, 24 * time.Hour, -time.Minute, -24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r := newClockRig(0, 0)
			r.run(10 * time.Second)
			for range 200 {
				if r.random.IntN(10) == 0 {
					r.answer(lie)
				} else {
					r.run(time.Second)
				}
				r.near(t, 1100*time.Millisecond, lie.String())
			}
			r.logged(t, 0, 0)
		})
		// The first one is believed, until two others disagree.
		synctest.Test(t, func(t *testing.T) {
			r := newClockRig(0, 0)
			r.answer(lie)
			r.answer(0)
			r.answer(0)
			r.near(t, 1100*time.Millisecond, "after two true answers")
		})
	}
}

// TestClockOfAbsurdDates: a Date that cannot be true is as good as none.
func TestClockOfAbsurdDates(t *testing.T) {
	for _, date := range []string{
		"", "now", "Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:10 GMT",
		"2000-01-01T00:00:00Z", "946684800", "Sat, 32 Jan 2000 00:00:00 GMT", strings.Repeat("9", 1000),
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newClockRig(0, 0)
			for range 10 {
				r.answered(time.Now(), time.Now(), date)
			}
			if r.answers() != 0 || r.off() != 0 {
				t.Errorf("%.40q: believed %d times, and now off by %v", date, r.answers(), r.off())
			}
		})
	}
}

// TestClockWithoutDate: answers that do not tell the time are told of once, unless others do.
func TestClockWithoutDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blank := func(r *clockRig, n int) {
			for range n {
				r.answered(time.Now(), time.Now(), "")
			}
		}
		r := newClockRig(0, 0)
		blank(r, 9)
		r.logged(t, 0, 0)
		if !r.unsure() {
			t.Error("the time is certain before an answer has told it")
		}
		blank(r, 50)
		if r.unsure() {
			t.Error("where no answer tells the time, it never is certain")
		}
		r.logged(t, 1, 0)
		r = newClockRig(0, 0)
		r.answer(0)
		blank(r, 50)
		r.logged(t, 0, 0)
		r.near(t, 200*time.Millisecond, "after one answer that tells the time")
	})
}

// TestClockWithoutAnswer: as long as nobody answers, nothing is known of the time, and nothing
// is said of answers.
func TestClockWithoutAnswer(t *testing.T) {
	for status, sure := range map[int]bool{0: false, http.StatusServiceUnavailable: true} {
		r := newClockRig(0, 0)
		stack := middleware.NewStack("test", smithyhttp.NewStackRequest)
		if err := r.observe(stack); err != nil {
			t.Fatal(err)
		}
		send := middleware.HandlerFunc(func(context.Context, any) (any, middleware.Metadata, error) {
			// As the SDK's transport does if the connection fails.
			return &smithyhttp.Response{Response: &http.Response{StatusCode: status, Header: http.Header{}}}, middleware.Metadata{}, errors.New("failed")
		})
		for range 50 {
			if _, _, err := stack.HandleMiddleware(t.Context(), nil, send); err == nil {
				t.Fatal("the request does not fail")
			}
		}
		if r.unsure() == sure {
			t.Errorf("status %d: the time counts as certain: %v", status, !sure)
		}
		if sure {
			r.logged(t, 1, 0)
		} else {
			r.logged(t, 0, 0)
		}
	}
}
