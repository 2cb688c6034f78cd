// Command simulate simulates how many replicas share very many cameras; "make simulate"
// runs it.
//
//	go run ./internal/simulate -cameras 100000 -replicas 200
//
// The code that real replicas run decides where a camera belongs, how many cameras move
// at a time and how often cursors are written. Only time is simulated: how long a write
// takes, how long a camera needs to finish what it has in flight, and when the server
// ends a lease. With -fleet, it simulates many groups, and what becomes of them when a zone, a
// NATS cluster or AWS fails: see fleet.
//
// The report says how evenly cameras are placed, which ones move when replicas join, leave
// and die, how long that takes, and how much is written.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/source"
)

// options say what to simulate.
type options struct {
	cameras, replicas int
	lease             time.Duration
	seed              uint64
	capacity          float64 // writes that the bucket takes in a second, 0 for no limit
}

func main() {
	var o options
	flag.IntVar(&o.cameras, "cameras", 100_000, "`number` of cameras")
	flag.IntVar(&o.replicas, "replicas", 200, "`number` of replicas")
	flag.DurationVar(&o.lease, "lease", lease.DefaultDuration, "`time` after which others take over from a replica that has died")
	flag.Uint64Var(&o.seed, "seed", 1, "`number` that seeds the randomness: the same seed gives the same report")
	f := fleet{retention: 24 * time.Hour}
	whole := flag.Bool("fleet", false, "simulate a fleet of groups, with what it needs, costs and survives, instead of one group")
	flag.IntVar(&f.groups, "groups", 10, "`number` of groups of a fleet")
	flag.IntVar(&f.cores, "cores", 8, "`number` of cores of a replica of a fleet")
	flag.DurationVar(&f.interval, "interval", time.Second, "`time` between the pictures of a camera of a fleet")
	flag.Float64Var(&f.use, "use", 0.6, "`share` of the cores that is planned to be used")
	flag.DurationVar(&f.outage, "outage", 10*time.Minute, "`time` for which NATS is lost, or AWS throttles")
	priceFile := flag.String("prices", "", "`file` with prices, like internal/simulate/prices.json")
	again := flag.Bool("measure", false, "run the benchmarks again, of which a fleet's figures are")
	write := flag.Bool("write", false, "write the tables of a fleet into "+scalingFile)
	flag.Parse()
	if *whole {
		f.cameras, f.lease, f.seed = o.cameras, o.lease, o.seed
		if err := f.run(context.Background(), *priceFile, *again, *write); err != nil {
			fmt.Fprintln(os.Stderr, "simulate:", err)
			os.Exit(1)
		}
		return
	}
	if o.cameras < 1 || o.replicas < 2 || o.lease < lease.MinDuration {
		fmt.Fprintln(os.Stderr, "simulate: there must be at least 1 camera and 2 replicas, and the lease must be at least", lease.MinDuration)
		os.Exit(2)
	}
	report(os.Stdout, o)
}

// run measures, if asked to, and prints the tables of a fleet or writes them into a file.
func (f *fleet) run(ctx context.Context, priceFile string, again, write bool) (err error) {
	if f.cameras < f.groups || f.groups < 1 || f.cores < 1 || f.use <= 0 || f.use >= 1 || f.interval < source.MinInterval {
		return fmt.Errorf("there must be at least one camera for each group and a core for each replica, a -use between 0 and 1, and an -interval of at least %v", source.MinInterval)
	}
	if f.prices, err = pricesOf(priceFile); err != nil {
		return err
	}
	if again {
		f.figures, err = measure(ctx, os.Stderr)
	} else {
		err = read(lastFigures, &f.figures)
	}
	if err != nil {
		return err
	}
	if err := f.predict(ctx); err != nil {
		return err
	}
	if write {
		return f.write(scalingFile)
	}
	f.document(os.Stdout)
	return nil
}

// report simulates one event after another, and prints the effects of each.
func report(out io.Writer, o options) {
	w := newWorld(o)
	fmt.Fprintf(out, "%d cameras, %d replicas, a lease of %v\n\n", o.cameras, o.replicas, o.lease)
	fmt.Fprintln(out, w.balance())
	pace := lease.CursorPace(o.lease, o.cameras)
	renewals := float64(o.replicas) / (o.lease / 3).Seconds()
	cursors := float64(o.cameras) / pace.Seconds()
	fmt.Fprintf(out, "steady: %.0f renewals and %.0f cursors written a second, each cursor every %v\n\n", renewals, cursors, pace.Round(time.Second))
	fmt.Fprintf(out, "%-28s %8s %8s %9s %9s %9s %9s %9s\n", "", "fair", "moved", "at once", "done in", "without", "(median)", "writes/s")
	tenth := max(o.replicas/10, 1)
	for _, e := range []struct {
		name string
		do   func() event
	}{
		{"one joins", func() event { return w.join(1) }},
		{"one is stopped (SIGTERM)", func() event { return w.leave(1) }},
		{"one dies", func() event { return w.die(1) }},
		{fmt.Sprintf("%d die at once", tenth), func() event { return w.die(tenth) }},
		{fmt.Sprintf("%d join at once", tenth), func() event { return w.join(tenth) }},
		{fmt.Sprintf("%d are stopped at once", tenth), func() event { return w.leave(tenth) }},
		{"one becomes twice as fast", func() event { return w.speedUp(2) }},
	} {
		r := e.do()
		fmt.Fprintf(out, "%-28s %8d %8d %9d %9.1fs %8.1fs %8.1fs %9.0f\n", e.name, r.fair, r.moved, r.atOnce,
			r.took.Seconds(), r.longest.Seconds(), r.median.Seconds(), r.writes)
	}
	fmt.Fprintf(out, "\nafter all that: %s\n", w.balance())
	fmt.Fprintln(out, `
fair      cameras that would have to move if all shares were even
moved     cameras that have moved to another replica
at once   the most cameras that were moving at the same time
done in   from the event until every camera runs where it belongs
without   the longest time for which no replica ran a camera
writes/s  the most leases written in one second, not counting cursors and renewals`)
}
