package assumptions_test

import (
	"encoding/json"
	"image"
	"image/color"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/preflight/assumptions"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// moving is a scene that is different at each instant, and in each of its parts.
type moving struct{}

func (moving) Key(_ string, t time.Time) string { return t.String() }

func (moving) Picture(_ string, t time.Time) (image.Image, error) {
	img := image.NewGray(image.Rect(0, 0, 96, 54))
	ms := int(t.UnixMilli() / 100)
	for y := range 54 {
		for x := range 96 {
			img.Pix[y*img.Stride+x] = uint8(x*x/40 + y*3 + ms%251)
		}
	}
	img.Set(ms%96, ms%54, color.White)
	return img, nil
}

// slow is a scene that changes once in a second.
type slow struct{ moving }

func (slow) Key(_ string, t time.Time) string { return t.Truncate(time.Second).String() }

// usual is the fake as the source assumes the service to be.
func usual() kinesistest.Options {
	return kinesistest.Options{Scene: moving{}, Streams: kinesistest.Cameras(12), Faults: kinesistest.Faults{Throttle: true}}
}

// ask asks the fake.
func ask(t *testing.T, fake kinesistest.Options, o assumptions.Options) (assumptions.Report, *kinesistest.Server) {
	t.Helper()
	srv, err := kinesistest.New(fake)
	if err != nil {
		t.Fatal(err)
	}
	pipe := kinesistest.NewPipe()
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(t.Context(), pipe) })
	client := pipe.Client()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		wg.Wait()
	})
	o.Client, err = kinesis.New(t.Context(), kinesis.Options{
		Region: kinesistest.Region, Endpoint: "http://fake", AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
		HTTPClient: client,
	})
	if err != nil {
		t.Fatal(err)
	}
	if o.Streams == nil {
		o.Streams = []kinesis.StreamOptions{{Name: "cam-1"}}
	}
	if o.Images == 0 {
		o.Images = assumptions.DefaultImages
	}
	time.Sleep(1234 * time.Millisecond) // so that it begins amid a fragment, off the grid
	report, err := assumptions.Ask(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report, srv
}

// variants change one assumption each.
var variants = map[string]func(*kinesistest.Options){
	"clock":            func(o *kinesistest.Options) { o.Faults.Skew = 40 * time.Second },
	"list-page":        func(o *kinesistest.Options) { o.Faults.NamesPage = 11 },
	"running-fragment": func(o *kinesistest.Options) { o.Faults.FindRunning = true },
	"page":             func(o *kinesistest.Options) { o.Faults.PageSize = 12 },
	"order":            func(o *kinesistest.Options) { o.Faults.Unordered = 1 },
	"twice":            func(o *kinesistest.Options) { o.Faults.Duplicates = 0.1 },
	"off-grid":         func(o *kinesistest.Options) { o.Faults.OffGrid = 40 * time.Millisecond },
	"empty-window":     func(o *kinesistest.Options) { o.Faults.EmptyEntries = true },
	"slow-camera":      func(o *kinesistest.Options) { o.Scene = slow{} },
	"edge":             func(o *kinesistest.Options) { o.Faults.OmitMissing = true },
	"delay":            func(o *kinesistest.Options) { o.Delay = 9 * time.Second },
	"aspect":           func(o *kinesistest.Options) { o.Faults.KeepAspect = true },
	"throttle":         func(o *kinesistest.Options) { o.Faults.Throttle = false },
}

// TestAssumptions: the fake is what the source assumes; and of a fake that is different in
// one way, just that is told.
func TestAssumptions(t *testing.T) {
	variants["none"] = func(*kinesistest.Options) {}
	for different, change := range variants {
		t.Run(different, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := usual()
				change(&fake)
				report, srv := ask(t, fake, assumptions.Options{})
				for _, f := range report.Findings {
					want := assumptions.Same
					if f.ID == different {
						want = assumptions.Different
					}
					if f.Verdict != want {
						t.Errorf("different in %s: %s is %s, want %s: %s %s", different, f.ID, f.Verdict, want, f.Seen, f.Why)
					}
					if f.ID == different || different == "none" {
						t.Logf("%s: %s; %s", f.ID, f.Seen, f.Verdict)
					}
				}
				asked := 0
				for _, total := range srv.Totals() {
					asked += total.Asked
				}
				if report.Images > assumptions.DefaultImages || asked > report.Images {
					t.Errorf("different in %s: %d images asked for, %d told", different, asked, report.Images)
				}
				t.Logf("%d images asked for, %d told", asked, report.Images)
			})
		})
	}
}

// TestOtherStreams: what streams may well be like is no difference.
func TestOtherStreams(t *testing.T) {
	for name, change := range map[string]func(*kinesistest.Options){
		"fragments of 1s":        func(o *kinesistest.Options) { o.Fragment = time.Second },
		"fragments of 4s":        func(o *kinesistest.Options) { o.Fragment, o.Delay = 4*time.Second, 2*time.Second },
		"fragments of 10s":       func(o *kinesistest.Options) { o.Fragment, o.Delay = 10*time.Second, 3*time.Second },
		"fragments of 2133ms":    func(o *kinesistest.Options) { o.Fragment = 2133 * time.Millisecond },
		"fragments of 1s to 6s":  func(o *kinesistest.Options) { o.Fragment, o.FragmentMax = time.Second, 6*time.Second },
		"fragments of 20s":       func(o *kinesistest.Options) { o.Fragment, o.Delay = 20*time.Second, 2*time.Second },
		"no delay":               func(o *kinesistest.Options) { o.Delay = -1 },
		"a service that jitters": func(o *kinesistest.Options) { o.Faults.Jitter = time.Second },
		"other readers":          func(o *kinesistest.Options) { o.Faults.Others = 0.1 },
		"an image a page":        func(o *kinesistest.Options) { o.Faults.PageSize = 1 },
		"empty pages":            func(o *kinesistest.Options) { o.Faults.EmptyPages, o.Faults.EmptyRun = 1, 6 },
		"errors now and then":    func(o *kinesistest.Options) { o.Faults.Errors, o.Faults.Resets = 0.05, 0.05 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := usual()
				change(&fake)
				begin := time.Now()
				report, _ := ask(t, fake, assumptions.Options{})
				for _, f := range report.Findings {
					if f.Verdict != assumptions.Same && (f.ID != "page" || !strings.Contains(name, "page")) {
						t.Errorf("%s is %s: %s %s", f.ID, f.Verdict, f.Seen, f.Why)
					}
				}
				t.Logf("%d images, %v", report.Images, time.Since(begin).Round(time.Second))
			})
		})
	}
}

// TestEmptyRefused: where windows without media are refused, that is the only difference.
func TestEmptyRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := usual()
		fake.Faults.EmptyRefused = true
		report, _ := ask(t, fake, assumptions.Options{})
		for _, f := range report.Findings {
			if (f.Verdict != assumptions.Same) != (f.ID == "empty-window") {
				t.Errorf("%+v", f)
			}
		}
	})
}

// TestNoDate: what the host's clock differs by cannot be told if the service does not tell
// the time.
func TestNoDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := usual()
		fake.Faults.NoDate = 1
		report, _ := ask(t, fake, assumptions.Options{})
		for _, f := range report.Findings {
			if f.ID == "clock" && (f.Verdict != assumptions.Unknown || !strings.Contains(f.Why, "no Date")) {
				t.Errorf("%+v", f)
			}
		}
	})
}

// TestSlowCameras: whichever way the service takes with cameras that have fewer frames than
// are asked for, it is told.
func TestSlowCameras(t *testing.T) {
	for name, f := range map[string]kinesistest.Faults{
		"the frame is repeated":          {},
		"images have the frame's time":   {FrameTimes: true},
		"NO_MEDIA comes between frames":  {FrameGaps: true},
		"the camera is irregular at it":  {FrameJitter: 300 * time.Millisecond},
		"gaps, and times of the frame's": {FrameGaps: true, FrameTimes: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := usual()
				f.FrameEvery = time.Second
				fake.Faults = f
				report, _ := ask(t, fake, assumptions.Options{})
				for _, f := range report.Findings {
					if f.ID == "slow-camera" && f.Verdict != assumptions.Different {
						t.Errorf("%+v", f)
					}
				}
			})
		})
	}
}

// TestPagesRefused: a service that gives no 100 images at once is told about, and asked for
// fewer.
func TestPagesRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := usual()
		var refuse sync.Once
		fake.Intercept = func(r kinesistest.Request) (response *kinesistest.ErrorResponse) {
			if r.Operation == "GetImages" && r.Interval == 200*time.Millisecond {
				refuse.Do(func() { response = &kinesistest.ErrorResponse{Code: "ValidationException"} })
			}
			return response
		}
		report, _ := ask(t, fake, assumptions.Options{})
		for _, f := range report.Findings {
			switch {
			case f.ID != "page" && f.Verdict != assumptions.Same:
				t.Errorf("%+v", f)
			case f.ID == "page" && (f.Verdict != assumptions.Different || f.Seen != "ValidationException, but 25 if 25 are asked for"):
				t.Errorf("%+v", f)
			}
		}
	})
}

// TestEveryQuestionHasAVariant: none of the questions has always the same answer.
func TestEveryQuestionHasAVariant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report, _ := ask(t, usual(), assumptions.Options{Images: 1})
		for _, f := range report.Findings {
			if variants[f.ID] == nil {
				t.Errorf("no variant changes the answer to %s", f.ID)
			}
		}
	})
}

// TestDocs: the table in the documentation has the same questions.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		report, _ := ask(t, usual(), assumptions.Options{Images: 1})
		for _, f := range report.Findings {
			if row := "| " + f.Question + " | " + f.Fake + " |\n"; !strings.Contains(string(text), row) {
				t.Errorf("docs/operations.md lacks %s", row)
			}
		}
	})
}

// TestNoImages: without images most cannot be told, and it says why.
func TestNoImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report, srv := ask(t, usual(), assumptions.Options{Images: 30})
		if n := srv.Totals()["cam-1"].Asked; n > 30 || report.Images > 30 {
			t.Errorf("%d images asked for, %d told", n, report.Images)
		}
		if report.Count(assumptions.Unknown) < 5 || report.Count(assumptions.Different) > 0 {
			t.Errorf("%+v", report)
		}
		for _, f := range report.Findings {
			if f.Verdict == assumptions.Unknown && !strings.Contains(f.Why, "--images") {
				t.Errorf("%s: %s", f.ID, f.Why)
			}
		}
	})
}

// TestNextStream: what the first stream cannot tell, the second is asked for.
func TestNextStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := usual()
		fake.Streams = append(fake.Streams, kinesistest.Stream{Name: "dark", Since: time.Now().Add(time.Hour)})
		report, _ := ask(t, fake, assumptions.Options{Streams: []kinesis.StreamOptions{{Name: "dark"}, {Name: "cam-2"}}})
		for _, f := range report.Findings {
			if f.Verdict != assumptions.Same {
				t.Errorf("%+v", f)
			}
		}
	})
}

// TestNothingOfTheAccount: whatever goes wrong, the report has no name in it.
func TestNothingOfTheAccount(t *testing.T) {
	for _, fails := range []string{"DescribeStream", "GetDataEndpoint", "GetImages", "ListStreams", ""} {
		synctest.Test(t, func(t *testing.T) {
			fake := usual()
			fake.Intercept = func(r kinesistest.Request) *kinesistest.ErrorResponse {
				if r.Operation == fails {
					return &kinesistest.ErrorResponse{Status: 403, Code: "cam-1", Message: "arn:aws:kinesisvideo:us-east-1:123456789012:stream/cam-1 is secret"}
				}
				return nil
			}
			fake.Streams = append(fake.Streams, kinesistest.Stream{Name: "dark", Since: time.Now().Add(time.Hour)})
			report, _ := ask(t, fake, assumptions.Options{Streams: []kinesis.StreamOptions{{Name: "cam-1"}, {Name: "dark"}, {Name: "none"}}})
			text, err := json.Marshal(report)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"cam-", "dark", "arn:", "123456789012", "us-east-1", "fake/", "//"} {
				if strings.Contains(string(text), secret) {
					t.Errorf("%s fails: it has %q in it: %s", fails, secret, text)
				}
			}
			if len(report.Findings) < 12 {
				t.Errorf("%s fails: only %d questions were asked", fails, len(report.Findings))
			}
		})
	}
}
