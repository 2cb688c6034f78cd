package consume_test

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// TestLargeAndSmallTensorsKeepTheirOrder, however they are received, and those that were
// released are not those that are still in use.
func TestLargeAndSmallTensorsKeepTheirOrder(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	for name, o := range map[string]dial.Options{
		"direct":     {URL: srv.ClientURL()},
		"client":     {URL: srv.ClientURL(), NoDirectReads: true},
		"in process": {Server: srv},
	} {
		t.Run(name, func(t *testing.T) {
			sub, err := consume.Subscribe(o, "cvf.t.>")
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			nc, err := nats.Connect(srv.ClientURL())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			conntest.WaitConnected(t, sub)
			const sent = 60
			side := func(n int) int { return []int{4, 320, 64, 320}[n%4] }
			var kept []consume.Delivery
			for n := range sent {
				m := uint8Tensor(n, side(n))
				if err := nc.PublishMsg(m); err != nil {
					t.Fatal(err)
				}
				if n%10 != 9 {
					continue
				}
				kept = append(kept, readTen(t, sub, n-9, side)...)
			}
			for _, d := range kept {
				if n, _ := strconv.Atoi(d.Output); !bytes.Equal(d.Data, uint8Tensor(n, side(n)).Data) {
					t.Errorf("tensor %d was overwritten", n)
				}
			}
		})
	}
}

// readTen reads ten tensors, releases some of the large ones, and returns the others.
func readTen(t *testing.T, sub *consume.Subscription, first int, side func(int) int) []consume.Delivery {
	t.Helper()
	var kept []consume.Delivery
	next := first
	for d, err := range sub.Tensors(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Output != strconv.Itoa(next) || !bytes.Equal(d.Data, uint8Tensor(next, side(next)).Data) {
			t.Fatalf("%s with %d bytes comes where %d was expected", d.Output, len(d.Data), next)
		}
		if next%4 == 1 {
			d.Release()
		} else {
			kept = append(kept, d)
		}
		if next++; next == first+10 {
			return kept
		}
	}
	t.Fatal("the subscription has ended")
	return nil
}

// uint8Tensor returns tensor n, with three channels of side x side pixels.
func uint8Tensor(n, side int) *nats.Msg {
	m := nats.NewMsg("cvf.t.cam-1.detector")
	shape := "1,3," + strconv.Itoa(side) + "," + strconv.Itoa(side)
	for name, value := range map[string]string{
		publish.HeaderVersion: publish.Version, publish.HeaderStream: "cam-1", publish.HeaderOutput: strconv.Itoa(n),
		publish.HeaderTime: "2026-01-02T03:04:05.200Z", publish.HeaderCapture: "2026-01-02T03:04:05.207Z",
		publish.HeaderDType: "UINT8", publish.HeaderShape: shape, publish.HeaderLayout: "NCHW", publish.HeaderColor: "RGB",
		publish.HeaderSource: "1920x1080", publish.HeaderAffine: "3,0,-1,0,3,-420", publish.HeaderScale: "1",
		publish.HeaderMean: "0,0,0", publish.HeaderStd: "1,1,1", publish.HeaderSpec: "3f2a",
	} {
		m.Header.Set(name, value)
	}
	m.Data = bytes.Repeat([]byte{byte(n)}, 3*side*side)
	return m
}
