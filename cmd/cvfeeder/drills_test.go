package main

import (
	"context"
	"image"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const tooFewCores = "CvfeederTooFewCores"

func drills() []drill {
	return []drill{
		{
			name: "nats-down", incident: "the NATS server is killed", mend: "the NATS server is started again", cause: "nobody answers at NATS' address",
			alert: "CvfeederBrokerAway", reason: "nats_away", unready: true, small: true,
			metrics: []string{"cvfeeder_nats_connected", `sum(increase(cvfeeder_slots_total{outcome="dropped"}[1m]))`},
			strike:  func(r *drillRig) { r.nats.kill() },
			heal:    func(r *drillRig) { r.nats.start() },
			found:   map[string]string{"/readyz": "nats_away", "cvfeeder_nats_connected": `connection="data`, "nats server check": "no servers available"},
		},
		{
			name: "camera-outage", incident: "one of two cameras stops sending", mend: "the camera sends again", cause: "the stream exists, and has no new fragments",
			alert: "CvfeederStreamStale", reason: "camera_silent",
			metrics: []string{`cvfeeder_freshness_seconds`, `sum by (stream) (increase(cvfeeder_slots_total{outcome="no_media"}[1m]))`},
			strike: func(r *drillRig) {
				o := r.fakeOpts
				o.Streams = kinesistest.Cameras(2)
				now := time.Now()
				o.Streams[0].Outages = []kinesistest.Interval{{From: now, To: now.Add(time.Hour)}}
				r.serveFake(o)
			},
			heal:  func(r *drillRig) { r.cameraIsBack() },
			found: map[string]string{"/readyz": "camera_silent", "cvfeeder_slots_total": "no_media", "describe-stream": "ACTIVE", "list-fragments": "None"},
		},
		{
			name: "throttled", incident: "another application uses up the quota of the streams", mend: "the other application ends", cause: "Kinesis throttles, although cvfeeder itself uses little of the quota",
			alert:   "CvfeederThrottled",
			metrics: []string{`sum by (code) (increase(cvfeeder_getimages_requests_total[1m])) > 0`, "cvfeeder_freshness_seconds"},
			strike:  func(r *drillRig) { r.withFaults(kinesistest.Faults{Throttle: true, Others: 1}) },
			heal:    func(r *drillRig) { r.withFaults(kinesistest.Faults{}) },
			found:   map[string]string{"cvfeeder_getimages_requests_total": "ClientLimitExceededException", "cvfeeder_images_requested_total": `=> 0\.0`},
		},
		{
			name: "few-cores", incident: "cameras are added that need more than the one core that there is", mend: "the cameras are taken out again", cause: "the cameras need more cores than there are",
			alert: tooFewCores, reason: "falling_behind",
			metrics:   []string{"cvfeeder_workers_busy_ratio", "cvfeeder_cpu_lacking_ratio", "max(cvfeeder_freshness_seconds)"},
			configure: func(r *drillRig) { r.oneCore() },
			strike:    func(r *drillRig) { r.configure(manyCameras); r.reload() },
			heal:      func(r *drillRig) { r.configure(2); r.reload() },
			found:     map[string]string{"/readyz": "falling_behind", "cvfeeder_cpu_lacking_ratio": "process", "cvfeeder_workers_busy_ratio": "=> (1|0.9)", "check": `CPU +[1-9]`},
		},
		{
			name: "store-full", incident: "the consumer of a work queue stops", mend: "the consumer runs again", cause: "the consumer has not read what is in the stream",
			alert: "CvfeederStreamFull", reason: "stream_full", unready: true,
			metrics: []string{"sum(cvfeeder_slots_pending)", "max(cvfeeder_freshness_seconds)"},
			configure: func(r *drillRig) {
				r.delivery = "{mode: durable, stream: {max_bytes: 256KiB, retention: workqueue}}"
			},
			started: func(r *drillRig) { r.consume() },
			strike:  func(r *drillRig) { r.stopConsuming() },
			heal:    func(r *drillRig) { r.consume() },
			found:   map[string]string{"/readyz": "stream_full", "nats stream info": "Maximum Bytes: 256 KiB", "nats consumer report": `reader .* [0-9]+ / [1-9][0-9]*%`},
		},
		{
			name: "clock-wrong", incident: "the host's clock falls behind by 90 seconds", mend: "the clock is set", cause: "the host's time differs from that of Kinesis",
			alert: "CvfeederClockOff", reason: "clock_behind",
			metrics:   []string{"cvfeeder_clock_offset_seconds", "cvfeeder_freshness_seconds"},
			configure: func(r *drillRig) { r.ownClock() },
			strike:    func(r *drillRig) { r.write(drillClock, "-90") },
			heal:      func(r *drillRig) { r.write(drillClock, "0") },
			found:     map[string]string{"/readyz": "clock_behind", "curl -sI": "(?i)^date: ", "date -u": "UTC"},
		},
		{
			name: "credentials-expired", incident: "the AWS credentials expire", mend: "new credentials are written into the file from which they come", cause: "AWS says that the credentials have expired",
			alert: "CvfeederCannotRead", reason: "refused", unready: true,
			metrics: []string{`sum by (code) (increase(cvfeeder_kinesis_requests_total[1m])) > 0`, "cvfeeder_freshness_seconds"},
			strike:  func(r *drillRig) { r.expire() },
			heal: func(r *drillRig) {
				r.write("credentials", "[default]\naws_access_key_id = renewed\naws_secret_access_key = renewed\n")
			},
			found: map[string]string{"/readyz": "expired", "cvfeeder_kinesis_requests_total": "ExpiredTokenException", "describe-stream": "ExpiredTokenException"},
		},
	}
}

// drillClock is the file with the seconds that the host's clock is ahead.
const drillClock = "clock"

// ownClock has the feeder, and the command date, go by a clock of their own.
func (r *drillRig) ownClock() {
	program := programWithClock(r.t)
	if program == "" {
		r.t.Skip(clockBuild.cannot)
	}
	r.t.Cleanup(func() { _ = os.RemoveAll(clockBuild.dir) })
	r.program = program
	r.write(drillClock, "0")
	r.env = append(r.env, clockVariable+"="+filepath.Join(r.dir, drillClock))
	r.shim += `date() { command date -d "@$(($(command date +%s) + $(cat ` + drillClock + `)))" "$@"; }
`
}

// cameraIsBack has the first camera send from now on.
func (r *drillRig) cameraIsBack() { r.serveFake(r.fakeOpts) }

// manyCameras are more than one core can decode at five pictures a second.
const manyCameras = 60

// A coarse scene is one that costs much to decode, and nothing to draw again.
type coarse struct{}

func (coarse) Key(string, time.Time) string { return "" }

func (coarse) Picture(string, time.Time) (image.Image, error) {
	random := rand.New(rand.NewPCG(1, 2))
	img := image.NewYCbCr(image.Rect(0, 0, 1280, 720), image.YCbCrSubsampleRatio420)
	for i := range img.Y {
		img.Y[i] = uint8(random.Uint32() >> 27)
	}
	return img, nil
}

// oneCore has the feeder run on one core.
func (r *drillRig) oneCore() {
	r.resize = "pillow-lanczos" // which is slow
	r.fakeOpts.Scene, r.fakeOpts.Streams = coarse{}, kinesistest.Cameras(manyCameras)
	r.env = append(r.env, "GOMAXPROCS=1")
}

// expire has the service refuse the credentials as expired, and take others.
func (r *drillRig) expire() {
	o := r.fakeOpts
	o.AccessKey, o.SecretKey = "renewed", "renewed"
	renewed, err := kinesistest.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.withFaults(kinesistest.Faults{ExpiredCredentials: 1})
	expired := *r.fake.Load()
	handler := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.Contains(q.Header.Get("Authorization"), "Credential=renewed/") {
			renewed.ServeHTTP(w, q)
			return
		}
		expired.ServeHTTP(w, q)
	}))
	r.fake.Store(&handler)
}

// A queueReader consumes a work queue.
type queueReader struct {
	conn *nats.Conn
	stop jetstream.ConsumeContext
}

// consume has somebody consume the work queue.
func (r *drillRig) consume() {
	conn, err := nats.Connect(r.natsURL)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	var consumer jetstream.Consumer
	for {
		consumer, err = js.CreateOrUpdateConsumer(ctx, "cvfeeder", jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy})
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			r.t.Fatal(err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	stop, err := consumer.Consume(func(m jetstream.Msg) { _ = m.Ack() })
	if err != nil {
		r.t.Fatal(err)
	}
	r.state = queueReader{conn, stop}
}

// stopConsuming stops whoever consumes the work queue.
func (r *drillRig) stopConsuming() {
	q := r.state.(queueReader)
	q.stop.Stop()
	q.conn.Close()
}
