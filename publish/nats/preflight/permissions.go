// Package preflight checks beforehand what a feeder needs from a NATS server:
// permissions, the size of messages, and the JetStream stream and buckets.
//
// [CheckPermissions] compares what the user is allowed with the [Needs] of a delivery
// mode, of leases and of the service. [Probe] sends a message of a given size to a
// reader. [CheckStream] and [CheckBucket] look at what JetStream has, and create nothing.
package preflight

import (
	"slices"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/interest"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
)

// Needs are the subjects, which can have wildcards, that a user must be allowed to
// publish to and to subscribe to.
type Needs struct {
	Publish, Subscribe []string
	// Respond says that the user must be allowed to answer requests on any reply
	// subject.
	Respond bool
}

// With returns the needs of both n and more.
func (n Needs) With(more Needs) Needs {
	join := func(a, b []string) []string {
		a = slices.Clone(a)
		for _, s := range b {
			if !slices.Contains(a, s) {
				a = append(a, s)
			}
		}
		return a
	}
	return Needs{
		Publish: join(n.Publish, more.Publish), Subscribe: join(n.Subscribe, more.Subscribe),
		Respond: n.Respond || more.Respond,
	}
}

// NeedsLive is what the delivery mode "live" needs, for tensors and gap events on
// the given subjects.
func NeedsLive(tensors, gaps []string) Needs {
	return Needs{Publish: slices.Concat(tensors, gaps)}
}

// NeedsRing is what the delivery mode "ring" needs if the JetStream stream exists (see
// [NeedsCreate]): to publish and get acks, and to look at the stream.
func NeedsRing(stream string, tensors, gaps []string) Needs {
	return NeedsLive(tensors, gaps).With(Needs{
		Publish:   []string{"$JS.API.STREAM.INFO." + stream},
		Subscribe: []string{dial.InboxSubjects},
	})
}

// NeedsDurable is what the delivery mode "durable" needs if the JetStream stream and the
// bucket of the cursors exist: besides [NeedsRing], to read the last message on a
// subject, and to read and write cursors. cursors is the name of the bucket.
func NeedsDurable(stream, cursors string, tensors, gaps []string) Needs {
	bucket := bucketStream(cursors)
	return NeedsRing(stream, tensors, gaps).With(Needs{Publish: []string{
		"$JS.API.STREAM.MSG.GET." + stream,
		"$JS.API.DIRECT.GET." + stream + ".>",
		"$JS.API.STREAM.INFO." + bucket,
		"$JS.API.DIRECT.GET." + bucket + ".>",
		"$KV." + cursors + ".>",
	}})
}

// NeedsReplay is what replay jobs need if their JetStream stream and the bucket of the jobs exist.
func NeedsReplay(stream, jobs string) Needs {
	return NeedsDurable(stream, jobs, []string{publish.ReplayPrefix + ">"}, nil)
}

// NeedsInterest is what finding out takes whether anybody listens. stream is the JetStream
// stream that tensors are stored in, "" if they are not.
func NeedsInterest(stream string) Needs {
	traces := []string{interest.Subjects}
	n := Needs{Publish: traces, Subscribe: traces}
	if stream == "" {
		return n
	}
	return n.With(Needs{Publish: []string{"$JS.API.CONSUMER.LIST." + stream}, Subscribe: []string{dial.InboxSubjects}})
}

// NeedsMemory is what handing over tensors on the given subjects in shared memory needs. stream
// is as in [NeedsInterest].
func NeedsMemory(stream string, tensors []string) Needs {
	n := NeedsInterest(stream)
	for _, subject := range tensors {
		n = Needs{Publish: []string{publish.MemorySubject("*", subject)}}.With(n)
	}
	return n
}

// NeedsLeases is what sharing streams with other replicas needs if the bucket of the
// leases exists.
func NeedsLeases() Needs {
	bucket := bucketStream(lease.Bucket)
	return Needs{
		Publish: []string{
			"$JS.API.STREAM.INFO." + bucket,
			"$JS.API.DIRECT.GET." + bucket + ".>",
			"$JS.API.CONSUMER.CREATE." + bucket + ".>",
			"$JS.API.CONSUMER.DELETE." + bucket + ".>",
			"$JS.FC.>",
			"$KV." + lease.Bucket + ".>",
		},
		Subscribe: []string{dial.InboxSubjects},
	}
}

// NeedsCreate is what creating the JetStream stream and key-value buckets needs.
func NeedsCreate(stream string, buckets ...string) Needs {
	n := Needs{Publish: []string{"$JS.API.STREAM.CREATE." + stream}}
	for _, b := range buckets {
		n = n.With(Needs{Publish: []string{"$JS.API.STREAM.CREATE." + bucketStream(b), "$JS.API.INFO"}})
	}
	return n
}

// NeedsService is what answering requests as a NATS service needs.
func NeedsService() Needs {
	return Needs{Subscribe: []string{"$SRV.>", "cvf.svc.>"}, Respond: true}
}

// NeedsRanges is what a service needs, besides [NeedsService], to answer requests for ranges.
// That it may respond is not enough: the server counts what it allows in response, and stops
// to allow it in the middle of a range.
func NeedsRanges() Needs { return Needs{Publish: []string{dial.InboxSubjects}} }

// NeedsForward is what a service needs, besides [NeedsService], to forward requests to the
// cvfeeder that has the stream.
func NeedsForward() Needs {
	return Needs{Publish: []string{"cvf.svc.frame.*"}, Subscribe: []string{dial.InboxSubjects}}
}

// bucketStream returns the name of the stream behind a key-value bucket.
func bucketStream(bucket string) string { return "KV_" + bucket }
