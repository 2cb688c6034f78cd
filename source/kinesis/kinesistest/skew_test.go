package kinesistest_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestSkew: the clock of the service is off as its faults say, always in the same way for
// one seed.
func TestSkew(t *testing.T) {
	for name, tc := range map[string]struct {
		faults  kinesistest.Faults
		usually time.Duration
		jumps   time.Duration // for how long of an hour it is off by the jump as well
	}{
		"none":   {},
		"ahead":  {faults: kinesistest.Faults{Skew: 40 * time.Second}, usually: 40 * time.Second},
		"behind": {faults: kinesistest.Faults{Skew: -10 * time.Minute}, usually: -10 * time.Minute},
		"jumps": {
			faults: kinesistest.Faults{SkewJump: time.Hour, SkewFor: 20 * time.Second, SkewEvery: 5 * time.Minute}, jumps: 4 * time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var servers []*kinesistest.Server
				for range 2 {
					s, err := kinesistest.New(kinesistest.Options{Faults: tc.faults, Seed: 1, Scene: tiny{}})
					if err != nil {
						t.Fatal(err)
					}
					servers = append(servers, s)
				}
				off := map[time.Duration]time.Duration{}
				for range 3600 {
					now := servers[0].Now()
					if !servers[1].Now().Equal(now) {
						t.Fatal("two servers with the same seed disagree")
					}
					off[time.Until(now)-tc.usually] += time.Second
					time.Sleep(time.Second)
				}
				jump := tc.faults.SkewJump
				if off[0] != time.Hour-tc.jumps || jump > 0 && (off[jump] == 0 || off[-jump] == 0 || off[jump]+off[-jump] != tc.jumps) {
					t.Errorf("off by these, for so long: %v", off)
				}
			})
		})
	}
}

func TestSkewDrifts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := kinesistest.New(kinesistest.Options{Faults: kinesistest.Faults{SkewDrift: 0.001}, Scene: tiny{}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1000 * time.Second)
		if off := time.Until(s.Now()); off != time.Second {
			t.Errorf("off by %v after 1000 s", off)
		}
	})
}

// TestSkewIsEverywhere: each answer has the service's Date, signatures have to be of its time,
// and media is visible by it.
func TestSkewIsEverywhere(t *testing.T) {
	for _, skew := range []time.Duration{4 * time.Minute, -4 * time.Minute} {
		c := start(t, kinesistest.Options{Scene: small(t), Faults: kinesistest.Faults{Skew: skew}})
		resp, err := http.Get(c.url)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		date, err := http.ParseTime(resp.Header.Get("Date"))
		if off := c.Now().Sub(date); err != nil || off < 0 || off > 5*time.Second || time.Since(date).Abs() < 3*time.Minute {
			t.Errorf("Date is %q, %v", resp.Header.Get("Date"), err)
		}
		for before, want := range map[time.Duration]bool{10 * time.Second: true, -time.Minute: false} {
			from := c.Now().Add(-before).Truncate(2 * time.Second)
			if found := c.window(t, ask(from, from.Add(interval))); (len(found) > 0) != want {
				t.Errorf("%v before the service's time: %v", before, found)
			}
		}
	}
}

func TestSkewOfSignatures(t *testing.T) {
	srv, err := kinesistest.New(kinesistest.Options{Scene: small(t), Faults: kinesistest.Faults{Skew: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := srv.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = endpoint.Close() }()
	c := connect(t, endpoint.URL, access{})
	// The SDK learns the service's time from the first answer.
	for i, want := range []string{"InvalidSignatureException", ""} {
		if _, err := c.control.ListStreams(t.Context(), &kinesisvideo.ListStreamsInput{}); code(err) != want {
			t.Errorf("request %d: %v, want %q", i, err, want)
		}
	}
}
