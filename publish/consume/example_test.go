package consume_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A model that wants the newest frame of each camera, and no backlog.
func ExampleSubscribeNewest() {
	server, stop := exampleServer()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	sub, err := consume.SubscribeNewest(dial.Options{URL: server.ClientURL()}, "cvf.t.*.detector", "cvf.gap.>")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()
	if err := sub.WaitConnected(ctx); err != nil {
		fmt.Println(err)
		return
	}
	exampleFeeder(ctx, server)

	for t, err := range sub.Tensors(ctx) {
		if err != nil {
			fmt.Println(err) // one bad message: the next may be fine
			continue
		}
		if t.Gap != nil {
			fmt.Println(t.Stream, "has nothing for", t.Gap.Slots, "slots:", t.Gap.Reason)
			continue
		}
		if err := t.CheckSpec("3f2a"); err != nil {
			fmt.Println(err)
			return
		}
		values := t.AppendFloat32s(nil) // what the model takes
		box := tensor.Box{MinX: 8, MinY: 16, MaxX: 24, MaxY: 32}
		fmt.Println(t.Stream, t.Shape, len(values), "seen in the picture at", t.BoxToSource(box))
		break
	}
	// Output:
	// front-door [1 1 64 64] 4096 seen in the picture at {160 40 480 360}
}

// A program that must see every frame once it is stored, and goes on where it was
// when it starts again.
func ExampleConsume() {
	server, stop := exampleServer()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	exampleFeeder(ctx, server)

	consumer, err := consume.Consume(ctx, dial.Options{URL: server.ClientURL()}, consume.ConsumerOptions{
		Name:     "archive",
		Subjects: []string{"cvf.t.*.detector"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for t, err := range consumer.Deliveries(ctx) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(t.Stream, t.Time.Format(time.RFC3339), len(t.Data))
		if err := t.Ack(); err != nil { // now it will not come again
			fmt.Println(err)
		}
		break
	}
	if err := consumer.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// front-door 2026-01-02T03:04:05Z 4096
}

// exampleServer is one that a feeder in the mode "durable" publishes to.
func exampleServer() (server *embedded.Server, stop func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	server, err = embedded.Start(embedded.Options{Listen: "127.0.0.1:0", StoreDir: dir})
	if err != nil {
		panic(err)
	}
	return server, func() {
		server.Shutdown()
		if err := os.RemoveAll(dir); err != nil {
			panic(err)
		}
	}
}

// exampleFeeder stores one tensor of the camera front-door.
func exampleFeeder(ctx context.Context, server *embedded.Server) {
	slot := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := publish.NewMessage("cvf.t.front-door.detector", &transform.Tensor{
		Stream: "front-door", Slot: source.SlotAt(slot), Capture: slot, Output: gray,
		Shape: []int{1, 1, 64, 64}, Source: image.Pt(1280, 720), Affines: []transform.Affine{{20, 0, 0, 0, 20, -280}},
		Data: bytes.Repeat([]byte{114}, 64*64),
	})
	nc, err := nats.Connect(server.ClientURL())
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		panic(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "cvfeeder", Subjects: []string{"cvf.t.*.*"}}); err != nil {
		panic(err)
	}
	if _, err := js.PublishMsg(ctx, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}); err != nil {
		panic(err)
	}
}
