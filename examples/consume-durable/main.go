// Command consume-durable reads every tensor that a cvfeeder in the mode "durable" has
// stored, and acknowledges each once its result is safe. Stop it and start it again: it
// resumes where it was.
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
)

func main() {
	url := flag.String("nats", dial.DefaultURL, "`URL` of the NATS server")
	stream := flag.String("stream", "cvfeeder", "`NAME` of the JetStream stream (delivery.stream.name)")
	name := flag.String("name", "example", "`NAME` of the durable consumer, which JetStream remembers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *url, *stream, *name); err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url, stream, name string) (err error) {
	consumer, err := consume.Consume(ctx, dial.Options{URL: url}, consume.ConsumerOptions{Stream: stream, Name: name})
	if err != nil {
		return err
	}
	defer func() {
		// Sends the last acknowledgements, even where ctx has ended.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, consumer.Close(closing))
	}()
	for d, err := range consumer.Deliveries(ctx) {
		var broken *consume.MessageError
		switch {
		case errors.As(err, &broken):
			log.Print(err) // it is not delivered again; the next may be fine
			continue
		case err != nil:
			return err // the consumer or its stream is gone
		}
		save(d)
		if err := d.Ack(); err != nil { // without it, the tensor is delivered again after 30 s
			return err
		}
	}
	return ctx.Err()
}

// save stands for whatever must have happened before a tensor may be forgotten.
func save(d consume.Delivery) {
	if d.Gap != nil { // only with delivery.gaps: inline
		fmt.Printf("%s: no tensor for %d slots from %v: %s\n", d.Stream, d.Gap.Slots, d.Gap.From, d.Gap.Reason)
		return
	}
	fmt.Printf("%s %s %v %v\n", d.Stream, d.Time.Format("15:04:05.000"), d.DType, d.Shape)
}
