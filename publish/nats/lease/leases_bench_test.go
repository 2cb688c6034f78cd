package lease_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// BenchmarkLeases measures the writes of leases that a bucket takes: each is a
// compare-and-set of its own key, of 64 that wait for their answers.
func BenchmarkLeases(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		b.Run(fmt.Sprintf("R%d", replicas), func(b *testing.B) {
			kv := benchBucket(b, replicas)
			const keys = 64
			var writers sync.WaitGroup
			took := make([]time.Duration, keys)
			b.ResetTimer()
			for k := range keys {
				writers.Go(func() {
					revision := uint64(0)
					key := fmt.Sprintf("g.s.cam-%d", k)
					value := []byte(`{"owner":"host-abcdefgh","cursor":"2026-01-02T03:04:05.2Z"}`)
					for i := k; i < b.N; i += keys {
						begin := time.Now()
						var err error
						if revision, err = kv.Update(context.Background(), key, value, revision); err != nil {
							// On a busy machine, the client repeats a write that was stored.
							e, again := kv.Get(context.Background(), key)
							if again != nil {
								b.Error(err)
								return
							}
							revision = e.Revision()
						}
						took[k] += time.Since(begin)
					}
				})
			}
			writers.Wait()
			b.StopTimer()
			var all time.Duration
			for _, d := range took {
				all += d
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(float64(all.Microseconds())/float64(b.N)/1000, "ms/write")
		})
	}
}

// benchBucket makes a bucket on one server, or on a cluster of three.
func benchBucket(b *testing.B, replicas int) jetstream.KeyValue {
	b.Helper()
	var url string
	if replicas == 1 {
		srv, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", StoreDir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(srv.Shutdown)
		url = srv.ClientURL()
	} else {
		url = natstest.StartCluster(b).URLs()
	}
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; <-time.After(100 * time.Millisecond) {
		kv, err := js.CreateKeyValue(context.Background(), jetstream.KeyValueConfig{
			Bucket: lease.Bucket, Replicas: replicas, LimitMarkerTTL: time.Minute,
		})
		if err == nil {
			return kv
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
}
