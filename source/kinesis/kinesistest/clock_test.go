package kinesistest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestCameraClock: by the camera's clock, media has the times that the clock showed; by the
// service's, nothing changes.
func TestCameraClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		srv, err := kinesistest.New(kinesistest.Options{
			Streams: []kinesistest.Stream{{Name: "cam-1", Since: begin, Clock: []kinesistest.ClockSetting{
				{At: begin.Add(20 * time.Second), Behind: -10 * time.Minute}, {At: begin.Add(10 * time.Second)},
			}}},
			Faults: kinesistest.Faults{Behind: time.Hour},
		})
		if err != nil {
			t.Fatal(err)
		}
		for at, recorded := range map[time.Duration]time.Duration{
			-time.Hour: 0, -time.Hour + 9*time.Second: 9 * time.Second, -time.Hour + 10*time.Second: -1,
			0: -1, 10 * time.Second: 10 * time.Second, 20 * time.Second: -1,
			10*time.Minute + 20*time.Second: 20 * time.Second, 10*time.Minute + 50*time.Second: 50 * time.Second,
		} {
			media, err := srv.ProducerMedia("cam-1", begin.Add(at), begin.Add(at+time.Second), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			got := media[0]
			if got.Exists != (recorded >= 0) || got.Exists && !got.Start.Equal(begin.Add(recorded.Truncate(2*time.Second))) {
				t.Errorf("%v: %+v, want what was recorded at %v", at, got, recorded)
			}
		}
		if media, err := srv.Media("cam-1", begin.Add(5*time.Second), begin.Add(6*time.Second), time.Second); err != nil || !media[0].Exists {
			t.Errorf("by the service's clock: %+v, %v", media, err)
		}
	})
}

// TestDrift: the clock loses some time, and is set right again.
func TestDrift(t *testing.T) {
	begin := time.Unix(0, 0)
	srv, err := kinesistest.New(kinesistest.Options{
		Streams: kinesistest.Cameras(1), Faults: kinesistest.Faults{Drift: 3 * time.Second, ClockEvery: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	media, err := srv.ProducerMedia("cam-1", begin, begin.Add(2*time.Minute), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Duration{0, time.Minute} {
		if m := media[int(at.Seconds())]; !m.Start.Equal(begin.Add(at)) {
			t.Errorf("%v: %+v", at, m)
		}
	}
	if m := media[55]; m.Start.Before(begin.Add(56 * time.Second)) {
		t.Errorf("the clock has lost nothing after 55 s: %+v", m)
	}
	for i := 58; i < 60; i++ {
		if media[i].Exists {
			t.Errorf("when it is set right, it leaves out %d s: %+v", i, media[i])
		}
	}
}

// TestUploads: footage that is uploaded later is there by its old time, and by the service's
// clock when it came.
func TestUploads(t *testing.T) {
	begin := time.Unix(0, 0)
	srv, err := kinesistest.New(kinesistest.Options{
		Streams: kinesistest.Cameras(1), Delay: time.Second, Seed: 3,
		Faults: kinesistest.Faults{Uploads: 0.3, UploadFor: 10 * time.Second, UploadAfter: time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	produced, err := srv.ProducerMedia("cam-1", begin, begin.Add(2*time.Hour), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	received, err := srv.Media("cam-1", begin, begin.Add(2*time.Hour), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	late := 0
	for i, m := range produced {
		delay := m.Visible.Sub(m.Time)
		switch {
		case !m.Exists:
			t.Fatalf("%v does not exist", m.Time)
		case delay == 3*time.Second:
			if !received[i].Exists {
				t.Errorf("%v was not received", m.Time)
			}
		case delay == time.Hour+3*time.Second:
			late++
			if !m.Start.Equal(m.Time.Add(time.Hour)) {
				t.Errorf("%v: %+v", m.Time, m)
			}
		default:
			t.Errorf("%v is visible after %v", m.Time, delay)
		}
	}
	if late < 144 || late > 288 {
		t.Errorf("%d of %d are late", late, len(produced))
	}
}
