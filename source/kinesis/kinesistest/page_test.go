package kinesistest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// Pages in any order still hold everything.
func TestOddPages(t *testing.T) {
	for name, tt := range map[string]struct {
		faults kinesistest.Faults
		odd    func([]types.Image, *kinesistest.Request) bool
	}{
		"unordered": {kinesistest.Faults{Unordered: 0.5}, func(page []types.Image, _ *kinesistest.Request) bool {
			return !slices.IsSortedFunc(page, func(a, b types.Image) int { return a.TimeStamp.Compare(*b.TimeStamp) })
		}},
		"duplicates": {kinesistest.Faults{Duplicates: 0.1}, func(page []types.Image, _ *kinesistest.Request) bool {
			for i := range page[1:] {
				if page[i].TimeStamp.Equal(*page[i+1].TimeStamp) {
					return true
				}
			}
			return false
		}},
		"off the grid": {kinesistest.Faults{OffGrid: 40 * time.Millisecond}, func(page []types.Image, _ *kinesistest.Request) bool {
			for _, im := range page {
				if im.TimeStamp.UnixMilli()%200 != 0 {
					return true
				}
			}
			return false
		}},
		"outside": {kinesistest.Faults{Outside: 0.5}, func(page []types.Image, r *kinesistest.Request) bool {
			for _, im := range page {
				if im.TimeStamp.Before(r.Start) || im.TimeStamp.After(r.End) {
					return true
				}
			}
			return false
		}},
		"empty": {kinesistest.Faults{EmptyPages: 0.2}, func(page []types.Image, _ *kinesistest.Request) bool { return len(page) == 0 }},
		"all": {
			kinesistest.Faults{Unordered: 0.5, Duplicates: 0.2, OffGrid: 40 * time.Millisecond, Outside: 0.5, EmptyPages: 0.2},
			func(page []types.Image, _ *kinesistest.Request) bool { return len(page) == 0 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			fakeTime(t, tt.faults, func(t *testing.T, c *client, begin time.Time) {
				grid, err := source.NewGrid(interval)
				if err != nil {
					t.Fatal(err)
				}
				odd, total := 0, 0
				for i := range 10 {
					from := begin.Add(time.Duration(i) * 20 * time.Second)
					in := ask(from, from.Add(20*time.Second-interval))
					seen := map[source.Slot]bool{}
					for more := true; more; {
						out := c.images(t.Context(), t, in)
						if out.Images == nil || len(out.Images) > 25 {
							t.Fatalf("a page of %d images, nil %t", len(out.Images), out.Images == nil)
						}
						for _, im := range out.Images {
							if im.ImageContent == nil || grid.Nearest(source.SlotAt(*im.TimeStamp)).Time().Sub(*im.TimeStamp).Abs() > 40*time.Millisecond {
								t.Errorf("%v: %s", im.TimeStamp, im.Error)
							}
							if at := grid.Nearest(source.SlotAt(*im.TimeStamp)); at >= source.SlotAt(from) && at <= source.SlotAt(*in.EndTimestamp) {
								seen[at] = true
							}
						}
						all := c.Requests()
						if tt.odd(out.Images, &all[len(all)-1]) {
							odd++
						}
						total++
						in.NextToken, more = out.NextToken, out.NextToken != nil
					}
					if len(seen) != 100 {
						t.Errorf("window %d: %d instants, want 100", i, len(seen))
					}
				}
				if odd < total/20 || odd == 0 {
					t.Errorf("%d of %d pages are odd", odd, total)
				}
				if c.Totals()["cam-1"].Asked != 1000 {
					t.Errorf("asked for %d images, want 1000", c.Totals()["cam-1"].Asked)
				}
			})
		})
	}
}

func TestTokenFaults(t *testing.T) {
	fakeTime(t, kinesistest.Faults{TokenLife: 10 * time.Second}, func(t *testing.T, c *client, begin time.Time) {
		in := ask(begin, begin.Add(20*time.Second))
		in.NextToken = c.images(t.Context(), t, in).NextToken
		time.Sleep(10 * time.Second)
		c.images(t.Context(), t, in)
		time.Sleep(time.Millisecond)
		_, err := c.data.GetImages(t.Context(), in)
		if code(err) != "InvalidArgumentException" || !strings.Contains(err.Error(), "expired") {
			t.Error(err)
		}
	})
	fakeTime(t, kinesistest.Faults{BadTokens: 0.5}, func(t *testing.T, c *client, begin time.Time) {
		in := ask(begin, begin.Add(20*time.Second))
		in.NextToken = c.images(t.Context(), t, in).NextToken
		codes := map[string]int{}
		for range 100 {
			_, err := c.data.GetImages(t.Context(), in)
			codes[code(err)]++
		}
		if n := codes["ValidationException"]; n < 30 || n > 70 || codes[""] != 100-n {
			t.Errorf("got %v", codes)
		}
		for range 10 { // none without a token
			c.images(t.Context(), t, ask(begin, begin))
		}
	})
}
