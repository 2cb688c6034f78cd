package health

import (
	"slices"
	"strings"
	"time"
)

// A Code is the stable name of a reason: in /readyz, on the page, in its API, in the log and
// in the metric cvfeeder_not_ready.
type Code string

// The codes, those of the process first, then those of single streams, worst first. A
// stream has one of the process, too, if that is what keeps it from flowing.
const (
	Stuck         Code = "stuck"
	Stopping      Code = "stopping"
	NATSAway      Code = "nats_away"
	NATSNotReady  Code = "nats_not_ready"
	StreamFull    Code = "stream_full"
	StoreLost     Code = "store_lost"
	NotStored     Code = "not_stored"
	PrefixUnknown Code = "prefix_unknown"
	NoStreams     Code = "no_streams"
	NoOwner       Code = "no_owner"
	ClockAhead    Code = "clock_ahead"
	ClockBehind   Code = "clock_behind"
	// InterestUnknown: it cannot be found out whether anybody listens.
	InterestUnknown Code = "interest_unknown"
	// MemoryUnused: tensors cannot be handed over in memory.
	MemoryUnused Code = "memory_unused"
	// MemoryLost: consumers do not find the memory of tensors, or cannot read it.
	MemoryLost Code = "memory_lost"
	// Budget codes: a limit of what images may cost is met, or nearly.
	BudgetSpent Code = "budget_spent" // nothing is asked for
	BudgetSlow  Code = "budget_slow"  // less is asked for
	BudgetLow   Code = "budget_low"

	Refused         Code = "refused"
	StreamGone      Code = "stream_gone"
	EndpointDoubted Code = "endpoint_doubted"
	Throttled       Code = "throttled"
	Unreadable      Code = "unreadable"
	CameraClock     Code = "camera_clock"
	Stalled         Code = "stalled"
	CameraSilent    Code = "camera_silent"
	MediaError      Code = "media_error"
	Undecodable     Code = "undecodable"
	Stale           Code = "stale"
	Dropped         Code = "dropped"
	Overdue         Code = "overdue"
	Gaps            Code = "gaps"
	FallingBehind   Code = "falling_behind"
	CatchingUp      Code = "catching_up"
	NoListener      Code = "no_listener"
	Resting         Code = "resting"
	Starting        Code = "starting"
	EndpointMoved   Code = "endpoint_moved"
)

// A State is the answer to "how is this stream?" in one word.
type State string

// The states, worst first. A stream is in the first one that applies.
const (
	CannotBeRead   State = "cannot_be_read"   // Kinesis refuses, or does not answer
	WaitingForNATS State = "waiting_for_nats" // there is no connection for tensors
	NoSlotEnds     State = "stalled"
	NoFrames       State = "no_frames" // slots end, but all without a tensor, or media is overdue
	SomeLost       State = "gaps"
	Late           State = "catching_up" // tensors come, but older than lag and grace explain
	Unheard        State = "unwatched"   // frames come, and nobody listens
	AtRest         State = "resting"     // nobody listens, so nothing is asked for
	Beginning      State = "starting"    // nothing is due yet
	OK             State = "ok"
	Done           State = "done" // its range has ended
)

// States returns all states, worst first.
func States() []State {
	return []State{CannotBeRead, WaitingForNATS, NoSlotEnds, NoFrames, SomeLost, Late, Unheard, AtRest, Beginning, OK, Done}
}

// A rule is what a code stands for.
type rule struct {
	code Code
	// state is that of a stream with it.
	state State
	// blocks says that a stream with it does not flow, or that a process with it is not
	// ready.
	blocks bool
	// raise is for how long it has to be so before it is told.
	raise time.Duration
	// silent says that the log does not need it: it comes and goes in the normal course, or
	// has been logged by those who found it.
	silent bool
	// short is what the detail is the cause of, where that says more than means: it comes
	// first then.
	short string
	// means is a sentence for people: what is so, and what to do.
	means string
}

// soon and later are how long most things have to be so before they are told; over is how
// long they must not be so any more before they are told to be over.
const (
	soon  = 2 * time.Second
	later = 20 * time.Second
	over  = 5 * time.Second
)

// rules are those of all codes, worst first.
var rules = []rule{
	{Stuck, NoSlotEnds, true, 0, false, "", "the process does not look at its streams any more: restart it, and report this with the goroutines of /debug/pprof"},
	{Stopping, Beginning, true, 0, true, "", "the process is stopping, and finishes what is in flight"},
	{NATSAway, WaitingForNATS, true, soon, false, "", "a connection to NATS is down: see whether the server runs and can be reached; nothing has to be done here"},
	{NATSNotReady, WaitingForNATS, true, soon, false, "NATS is not ready", "NATS is connected, but does not answer a request that has to be answered first: look at JetStream"},
	{StreamFull, NoSlotEnds, true, 0, false, "", "the JetStream stream is full, so nothing more is asked of the cameras: have its consumers catch up, or raise delivery.stream.max_bytes"},
	{StoreLost, NoSlotEnds, false, 0, false, "", "NATS has lost what it had stored, a stream, a bucket, keys or the newest messages: it is made again, and the log says what; give NATS a disk that lasts"},
	{NotStored, NoSlotEnds, false, soon, false, "not stored by NATS", "NATS does not store tensors, and they are published again: look at the server's log and the permissions"},
	{PrefixUnknown, Beginning, true, soon, false, "streams cannot be looked up", "the streams of a prefix could not be looked up yet, so nobody knows which to run: check the permission kinesisvideo:ListStreams and the network"},
	{NoStreams, Beginning, true, soon, false, "", "there is no stream to read: check the prefix and the region"},
	{NoOwner, Beginning, false, later, false, "", "streams of the group that this replica should run do not run: look at the bucket cvf_lease, and at what the log says of leases"},
	{ClockAhead, OK, false, later, true, "", "the host's clock is ahead of that of Kinesis, by which frames are asked for: set it, for example with NTP"},
	{ClockBehind, OK, false, later, true, "", "the host's clock is behind that of Kinesis, by which frames are asked for: set it, for example with NTP"},
	{InterestUnknown, OK, false, soon, false, "it is not known who listens", "NATS does not tell whether anybody listens, so streams with poll: subscribed are read all the time, which costs images: check the permissions and the version of the server"},
	{MemoryUnused, OK, false, soon, false, "it is not known who reads memory", "NATS does not tell whether those who listen read tensors in memory, so payloads are published: check the permissions and the version of the server"},
	{MemoryLost, OK, false, 0, false, "the memory of tensors was changed", "consumers did not find the memory of tensors, or could not read it, and payloads are published until it is mended: find out who changes the directory of delivery.memory, and whether there is room"},
	{BudgetSpent, AtRest, true, 0, false, "", "images may not cost more, so nothing is asked of Kinesis until the limit begins anew, and slots end as skipped: raise limits, or replay what is missed"},
	{BudgetSlow, OK, false, 0, false, "", "images may not cost more, so less is asked of Kinesis until the limit begins anew (limits.then: slow), and slots end as skipped: raise limits, or make interval longer"},
	{BudgetLow, OK, false, 0, false, "", "more than 80% of what images may cost is used: raise limits, or make interval longer"},

	{Refused, CannotBeRead, true, soon, false, "refused by AWS", "Kinesis refuses the credentials, or they lack a permission: check the credentials and their permissions"},
	{StreamGone, CannotBeRead, true, soon, false, "no such stream", "Kinesis has no such stream, or it keeps no media: check its name, its region and its retention"},
	{EndpointDoubted, CannotBeRead, true, soon, false, "no new media, and the data endpoint cannot be confirmed", "no new media comes, and the data endpoint cannot be confirmed: check that GetDataEndpoint is allowed and can be reached"},
	{Throttled, CannotBeRead, true, soon, false, "throttled by AWS", "Kinesis throttles the requests: find out who else reads the stream, or make interval longer"},
	{Unreadable, CannotBeRead, true, soon, false, "requests to Kinesis fail", "requests to Kinesis fail: they are tried again"},
	{CameraClock, NoSlotEnds, true, 0, false, "", "no media has the timestamps that the camera's clock should give: the camera is off, or its clock was set"},
	{Stalled, NoSlotEnds, true, 0, false, "", "no slot ends, and nobody has said why: look at the log, and report it"},
	{CameraSilent, NoFrames, true, soon, false, "", "no media comes from the camera: check the camera, its producer and its network"},
	{MediaError, NoFrames, true, soon, false, "", "Kinesis cannot make pictures of the media: check the codec and the producer's settings"},
	{Undecodable, NoFrames, true, soon, false, "", "no picture is whole: check the camera's encoder and what is between Kinesis and here"},
	{Stale, NoFrames, true, soon, false, "", "every frame is older than freshness before it is published: too few cores, or NATS or Kinesis is slow"},
	{Dropped, NoFrames, true, soon, false, "", "NATS does not take the tensors (cvfeeder_publish_errors_total says why), or they come after their batches (cvfeeder_batch_rows_late_total)"},
	{Overdue, NoFrames, false, soon, false, "", "no new media comes, and its slots are waited for: check the camera, its producer and its network"},
	{Gaps, SomeLost, false, 0, true, "slots lost", "slots were lost within the last minute, and cvfeeder_gaps_total counts them by reason"},
	{FallingBehind, Late, false, later, false, "", "tensors come, but later and later: add cores or replicas, or make pictures smaller or interval longer"},
	{CatchingUp, Late, false, soon, true, "", "tensors come, but are older than lag and grace explain: it is catching up, and nothing has to be done"},
	{NoListener, Unheard, false, 0, false, "", "frames come, and nobody listens: start a consumer, or check its subject; slots end as unwatched"},
	{Resting, AtRest, false, 0, true, "", "nothing is asked of Kinesis, because nobody listens (poll: subscribed), nothing is requested (poll: request), or it is outside of its hours (active): slots end as unwatched, and nothing has to be done"},
	{Starting, Beginning, true, 0, true, "", "waiting for the first frames"},
	{EndpointMoved, OK, false, 0, true, "", "the data endpoint has moved, and the new one is asked: nothing has to be done"},
}

// Codes returns all codes, worst first.
func Codes() []Code {
	all := make([]Code, len(rules))
	for i, r := range rules {
		all[i] = r.code
	}
	return all
}

func (c Code) rank() int { return slices.IndexFunc(rules, func(r rule) bool { return r.code == c }) }

// ofProcess tells whether it is a reason of the process, which streams may have as well.
func (c Code) ofProcess() bool { return c.rank() < Refused.rank() }

// ofBudget tells whether it is about what images may cost, of a stream or of all.
func (c Code) ofBudget() bool { return c == BudgetSpent || c == BudgetSlow || c == BudgetLow }

// blocks tells whether one of the reasons keeps frames from flowing.
func blocks(all []Reason) bool {
	return slices.ContainsFunc(all, func(r Reason) bool { return r.Code.rule().blocks })
}

func (c Code) rule() rule { return rules[c.rank()] }

// Means returns a sentence for people: what is so, and what to do.
func (c Code) Means() string { return c.rule().means }

// A Reason is why the process or a stream is not well.
type Reason struct {
	Code Code
	// Since is when it began, as time.Now gave it.
	Since time.Time
	// Detail says more for people, such as an error; "" where there is no more to say.
	Detail string
}

// Text returns the reason for people: what is so, what to do, and the detail. Where the
// detail is the cause, it comes first.
func (r Reason) Text() string {
	rule := r.Code.rule()
	if r.Detail == "" {
		return rule.means
	}
	if rule.short == "" {
		return rule.means + " (" + r.Detail + ")"
	}
	text := rule.short + ": " + r.Detail
	if _, do, some := strings.Cut(rule.means, ": "); some {
		text += "; " + do
	}
	return text
}
