// Command consume-newest prints the newest tensor of each camera, as a model wants it
// that would rather skip frames than fall behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
)

func main() {
	url := flag.String("nats", dial.DefaultURL, "`URL` of the NATS server")
	subject := flag.String("subject", "cvf.t.*.detector", "tensors to read; may hold wildcards")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *url, *subject); err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url, subject string) error {
	sub, err := consume.SubscribeNewest(dial.Options{URL: url}, subject, "cvf.gap.>")
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := sub.WaitConnected(ctx); err != nil {
		return err
	}
	var values []float32 // reused from frame to frame
	for d, err := range sub.Tensors(ctx) {
		switch {
		case err != nil:
			log.Print(err) // one broken message; the next may be fine
		case d.Gap != nil:
			fmt.Printf("%s: no tensor for %d slots from %v: %s\n", d.Stream, d.Gap.Slots, d.Gap.From, d.Gap.Reason)
		default:
			values = d.AppendFloat32s(values[:0])
			box := d.BoxToSource(find(values))
			fmt.Printf("%s: %v, %.1f s old, found %.0f in the camera's picture\n",
				d.Stream, d.Shape, d.Age(time.Now()).Seconds(), box)
		}
	}
	fmt.Printf("%d messages were skipped for newer ones\n", sub.Missed())
	return nil
}

// find stands for a model: it takes the elements of a tensor, and returns a box in
// pixels of the tensor.
func find([]float32) tensor.Box {
	return tensor.Box{MinX: 100, MinY: 200, MaxX: 200, MaxY: 300}
}
