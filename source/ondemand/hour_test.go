package ondemand_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source/ondemand"
)

// TestImagesOfAnHour: an asker and all of them have theirs in any hour, who is refused learns
// after how long there are enough, and what is given back can be spent by others.
func TestImagesOfAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ondemand.New(ondemand.Options{ImagesPerDay: 1_000_000, ImagesPerHour: 100, ImagesPerHourPerAsker: 60})
		refused := func(asker string, images int, want time.Duration, text string) {
			t.Helper()
			_, err := f.Reserve(asker, images)
			var wait *ondemand.WaitError
			if !errors.As(err, &wait) || !errors.Is(err, ondemand.ErrSpent) || wait.Wait != want || !strings.Contains(err.Error(), text) {
				t.Errorf("%s, %d images: %v (%+v), want %v and %q", asker, images, err, wait, want, text)
			}
		}
		reserve := func(asker string, images int) *ondemand.Reservation {
			t.Helper()
			r, err := f.Reserve(asker, images)
			if err != nil {
				t.Fatalf("%s, %d images: %v", asker, images, err)
			}
			return r
		}
		for images, key := range map[int]string{61: "61 of 60 an hour for each asker (requests.images_per_hour_per_asker)"} {
			if _, err := f.Reserve("a", images); !errors.Is(err, ondemand.ErrTooMany) || !strings.Contains(err.Error(), key) {
				t.Errorf("%d: %v", images, err)
			}
		}
		a := reserve("a", 50)
		time.Sleep(10 * time.Minute)
		refused("a", 20, 51*time.Minute, "60 an hour for each asker (requests.images_per_hour_per_asker): 20 are wanted: ask again in 51m0s")
		reserve("b", 50)
		refused("c", 10, 51*time.Minute, "100 an hour for all askers together (requests.images_per_hour)")
		if err := a.Spend(30); err != nil {
			t.Error(err)
		}
		a.Settle()
		a.Settle()
		reserve("c", 20)
		refused("c", 1, 51*time.Minute, "for all askers together")
		time.Sleep(51*time.Minute - time.Nanosecond)
		refused("c", 30, time.Nanosecond, "for all askers together")
		time.Sleep(time.Nanosecond)
		reserve("c", 30)
	})
}

// TestReservationGrows while there are images, and keeps to the bounds.
func TestReservationGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ondemand.New(ondemand.Options{ImagesPerDay: 50, ImagesPerHour: 100, ImagesPerHourPerAsker: 100})
		r, err := f.Reserve("a", 10)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if err := r.Spend(10); err != nil {
				t.Error(err)
			}
		}
		var wait *ondemand.WaitError
		if err := r.Spend(1); !errors.As(err, &wait) || wait.Wait != 24*time.Hour || r.Used() != 50 {
			t.Errorf("%v, %d used", err, r.Used())
		}
		if _, err := f.Reserve("b", 51); !errors.Is(err, ondemand.ErrTooMany) {
			t.Errorf("more than a day has: %v", err)
		}
		if err := f.Spend(1); !errors.Is(err, ondemand.ErrSpent) {
			t.Errorf("a single frame: %v", err)
		}
	})
}

// TestHourWithoutImages: 0 spends none.
func TestHourWithoutImages(t *testing.T) {
	if _, err := ondemand.New(ondemand.Options{ImagesPerDay: 100}).Reserve("a", 1); !errors.Is(err, ondemand.ErrTooMany) {
		t.Error(err)
	}
}

// TestManyAskers: who takes many names does not fill the memory, nor spend more than all may.
func TestManyAskers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ondemand.New(ondemand.Options{ImagesPerDay: 1_000_000, ImagesPerHour: 30_000, ImagesPerHourPerAsker: 5})
		taken := 0
		for i := range 50_000 {
			if _, err := f.Reserve(fmt.Sprint(i), 1); err == nil {
				taken++
			}
		}
		if taken != 10_005 {
			t.Errorf("%d images", taken)
		}
		time.Sleep(2 * time.Hour)
		if _, err := f.Reserve("late", 5); err != nil {
			t.Error(err)
		}
	})
}
