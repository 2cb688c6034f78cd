package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const drillConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: %q}
delivery: %s
streams:
%soutputs:
  small: {preset: yolo, size: 32x32, dtype: uint8, resize: %s}
`

// drillStream is a stream of the config.
const drillStream = "  - {name: cam-%d, interval: 200ms, outputs: [small]}\n"

// A drillRig is everything around the feeder of a drill, with what the person on call sees.
type drillRig struct {
	t     *testing.T
	drill drill
	dir   string

	// What a drill may change before the start.
	delivery string
	fakeOpts kinesistest.Options
	env      []string
	program  string
	resize   string // how pictures are made smaller
	shim     string // shell functions for the commands of the runbook

	fakeURL, natsURL, page string
	fake                   atomic.Pointer[http.Handler]
	nats, feeder           *process
	prometheus             *promtest.Prometheus
	manager                *promtest.Alertmanager
	tools                  map[string]string // directories of programs of the runbook
	usual, here            *strings.Replacer // the addresses as they usually are, and as they are here
	factor                 int               // by which Prometheus and Alertmanager are faster
	state                  any               // of the drill

	begin, healed time.Time
	events        []drillEvent
	logged        int // how much of the log has been told

	readyStatus int
	readyBody   string
	pageStates  map[string]int    // how many streams there are in each state
	pageCodes   []string          // all reasons on the page
	alerts      map[string]string // state by name
	told        map[string]int    // what somebody was told of, and not that it is over
	everTold    map[string]bool   // since the incident, before the mend
	noted       int               // how many notifications have been told
	last        map[string]string // what was last told, by its kind
}

// A drillEvent is what somebody sees, and when.
type drillEvent struct {
	at         time.Time
	kind, text string
}

// newDrillRig starts everything, for the length of the test.
func newDrillRig(t *testing.T, d drill) *drillRig {
	t.Helper()
	r := &drillRig{
		t: t, drill: d, dir: t.TempDir(), delivery: "{mode: live}", program: "cvfeeder", resize: "opencv-linear", factor: 60,
		fakeOpts: kinesistest.Options{Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(2), Fragment: time.Second},
		told:     map[string]int{}, everTold: map[string]bool{}, last: map[string]string{},
		tools: map[string]string{"nats": os.Getenv("CVFEEDER_NATS_CLI")},
	}
	if clients := os.Getenv("CVFEEDER_FAKE_CLIENTS"); clients != "" {
		r.tools["aws"] = filepath.Join(clients, "bin")
		r.shim = fmt.Sprintf("aws() { %[1]s/python %[1]s/aws \"$@\"; }\n", r.tools["aws"])
	}
	if *drillAll {
		r.factor = 15
	}
	if d.configure != nil {
		d.configure(r)
	}
	r.serveFake(r.fakeOpts)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { (*r.fake.Load()).ServeHTTP(w, q) }))
	t.Cleanup(front.Close)
	r.fakeURL = front.URL
	natsAddress, listen := lastingAddress(t), lastingAddress(t)
	r.natsURL, r.page = "nats://"+natsAddress, "http://"+listen
	r.write("credentials", "[default]\naws_access_key_id = test\naws_secret_access_key = test\n")
	r.write("nats.conf", fmt.Sprintf("listen: %q\njetstream: {store_dir: %q}\n", natsAddress, filepath.Join(r.dir, "store")))
	r.configure(2)
	r.nats = &process{t: t, args: []string{"nats-server-main", "-c", filepath.Join(r.dir, "nats.conf")}}
	r.feeder = &process{t: t, args: []string{r.program, "run", "-c", filepath.Join(r.dir, "cvfeeder.yaml")}, env: append(r.credentials(), r.env...)}
	r.nats.start()
	t.Cleanup(r.nats.kill)
	feedertest.Subscribe(t, r.natsURL, "cvf.t.>")
	r.feeder.start()
	t.Cleanup(func() {
		r.feeder.kill()
		if t.Failed() {
			t.Logf("%s\nthe log:\n%s", r.transcript(), r.feeder.out)
		}
	})
	r.startMonitoring(listen)
	r.usual = strings.NewReplacer(listen, "127.0.0.1:9177", natsAddress, "127.0.0.1:4222", r.fakeURL, "http://127.0.0.1:9178",
		strings.TrimPrefix(r.fakeURL, "http://"), "127.0.0.1:9178", r.prometheus.URL(), "http://127.0.0.1:9090", r.dir+"/", "")
	r.here = strings.NewReplacer("127.0.0.1:9177", listen, "127.0.0.1:4222", natsAddress, "http://127.0.0.1:9090", r.prometheus.URL(),
		"https://kinesisvideo.us-east-1.amazonaws.com", r.fakeURL)
	return r
}

var ruleTimes = regexp.MustCompile(`(for: |offset |\[|group_wait: |group_interval: )(\d+)([smhd])`)

// faster divides the times in rules, and in the config of Alertmanager, by a factor. Those of
// slots that are late keep theirs, as hours of them decide.
func faster(t *testing.T, text string, by int) string {
	t.Helper()
	const group = "  - name: cvfeeder\n"
	slots, rest, ok := strings.Cut(text, group)
	if slots += group; !ok {
		slots, rest = "", text
	}
	var b strings.Builder
	for line := range strings.Lines(rest) {
		if !strings.Contains(line, "cvfeeder:slots") {
			line = fasterLine(t, line, by)
		}
		b.WriteString(line)
	}
	return slots + b.String()
}

func fasterLine(t *testing.T, line string, by int) string {
	t.Helper()
	return ruleTimes.ReplaceAllStringFunc(line, func(s string) string {
		m := ruleTimes.FindStringSubmatch(s)
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[3]]
		return fmt.Sprintf("%s%dms", m[1], (time.Duration(n) * unit / time.Duration(by)).Milliseconds())
	})
}

// startMonitoring starts Prometheus and Alertmanager with what is delivered, except that all
// times are shorter by the same factor.
func (r *drillRig) startMonitoring(target string) {
	r.t.Helper()
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join("..", "..", "docker", "prometheus", name))
		if err != nil {
			r.t.Fatal(err)
		}
		return faster(r.t, string(data), r.factor)
	}
	r.manager = promtest.StartAlertmanager(r.t, read("alertmanager.yml"))
	r.prometheus = promtest.Start(r.t, promtest.Options{
		Target: target, Rules: read("alerts.yml"), Every: r.every(), Alertmanager: r.manager.URL, History: r.history(),
	})
}

// every is the time between scrapes.
func (r *drillRig) every() time.Duration { return 15 * time.Second / time.Duration(r.factor) }

// history returns that all slots were in time for the last hours.
func (r *drillRig) history() string {
	var b strings.Builder
	now := time.Now()
	slots := 5 * float64(len(r.fakeOpts.Streams))
	for metric, value := range map[string]float64{"cvfeeder:slots_expected:rate5m": slots, "cvfeeder:slots_not_in_time:rate5m": 0} {
		fmt.Fprintf(&b, "# TYPE %s gauge\n", metric)
		for at := now.Add(-3 * time.Hour); at.Before(now); at = at.Add(r.every()) {
			fmt.Fprintf(&b, "%s{job=\"cvfeeder\"} %g %.3f\n", metric, value, float64(at.UnixMilli())/1000)
		}
	}
	return b.String() + "# EOF\n"
}

// serveFake replaces the fake service. Its media is the same, as it is a matter of time.
func (r *drillRig) serveFake(o kinesistest.Options) {
	r.t.Helper()
	fake, err := kinesistest.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	handler := http.Handler(fake)
	r.fake.Store(&handler)
}

// withFaults has the fake service misbehave.
func (r *drillRig) withFaults(f kinesistest.Faults) {
	r.t.Helper()
	o := r.fakeOpts
	o.Faults = f
	r.serveFake(o)
}

// configure writes the config with so many cameras.
func (r *drillRig) configure(cameras int) {
	r.t.Helper()
	var streams strings.Builder
	for i := range cameras {
		fmt.Fprintf(&streams, drillStream, i+1)
	}
	r.write("cvfeeder.yaml", fmt.Sprintf(drillConfig, r.fakeURL, r.natsURL, strings.TrimPrefix(r.page, "http://"), r.delivery, streams.String(), r.resize))
}

func (r *drillRig) write(name, text string) {
	r.t.Helper()
	natstest.WriteFile(r.t, filepath.Join(r.dir, name), []byte(text))
}

// credentials returns the environment of whoever has the feeder's credentials.
func (r *drillRig) credentials() []string {
	return []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(r.dir, "credentials")}
}

// tell adds to what somebody sees. The addresses are told as they usually are.
func (r *drillRig) tell(kind, prefix, text string) {
	r.events = append(r.events, drillEvent{time.Now(), kind, prefix + r.usual.Replace(text)})
}

// tellNew tells a text if what matters of it is other than that of the last one of its kind.
func (r *drillRig) tellNew(kind, text, matters string) {
	if r.last[kind] == matters {
		return
	}
	r.last[kind] = matters
	if !r.begin.IsZero() {
		r.tell(kind, "", text)
	}
}

// await looks at everything until a check has nothing to say.
func (r *drillRig) await(what string, check func() string) {
	r.t.Helper()
	deadline := time.After(drillLimit)
	for {
		r.look()
		why := check()
		if why == "" {
			return
		}
		select {
		case <-r.feeder.done:
			r.t.Fatalf("%s: the feeder has ended: %v", what, r.feeder.err)
		case <-deadline:
			r.t.Fatalf("%s: not within %v: %s", what, drillLimit, why)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// look sees everything that the person on call can see.
func (r *drillRig) look() {
	r.lookAtLog()
	r.lookAtReadiness()
	r.lookAtPage()
	r.lookAtAlerts()
	r.lookAtNotifications()
}

func (r *drillRig) lookAtLog() {
	log := r.feeder.out.String()
	end := strings.LastIndexByte(log, '\n') + 1
	if r.begin.IsZero() {
		r.logged = end
	}
	for line := range strings.Lines(log[r.logged:end]) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), " ") // without the time
		r.tell("log", "", text)
	}
	r.logged = end
}

func (r *drillRig) get(path string) (int, string) {
	return answer(r.t.Context(), r.page+path, 5*time.Second)
}

// readyReason matches the reasons in the answer of /readyz.
var readyReason = regexp.MustCompile(`(?m)^[a-z_]+:`)

func (r *drillRig) lookAtReadiness() {
	r.readyStatus, r.readyBody = r.get("/readyz")
	reasons := readyReason.FindAllString(r.readyBody, -1)
	slices.Sort(reasons)
	r.tellNew("/readyz", fmt.Sprintf("%d %s", r.readyStatus, strings.TrimSpace(r.readyBody)), fmt.Sprint(r.readyStatus, slices.Compact(reasons)))
}

func (r *drillRig) lookAtPage() {
	var page struct {
		Reasons []struct{ Code string }
		Streams []struct{ State, Code string }
	}
	r.pageStates, r.pageCodes = map[string]int{}, nil
	if status, body := r.get("/api/streams?sort=state"); status != 200 || json.Unmarshal([]byte(body), &page) != nil {
		r.tellNew("page", "no answer", "")
		return
	}
	for _, reason := range page.Reasons {
		r.pageCodes = append(r.pageCodes, reason.Code)
	}
	for _, s := range page.Streams {
		r.pageStates[s.State]++
		if s.Code != "" && !slices.Contains(r.pageCodes, s.Code) {
			r.pageCodes = append(r.pageCodes, s.Code)
		}
	}
	var states []string
	for _, state := range slices.Sorted(maps.Keys(r.pageStates)) {
		states = append(states, fmt.Sprintf("%d × %s", r.pageStates[state], state))
	}
	r.tellNew("page", strings.TrimSuffix(fmt.Sprintf("%s: %s", strings.Join(states, ", "), strings.Join(r.pageCodes, ", ")), ": "),
		fmt.Sprint(slices.Sorted(maps.Keys(r.pageStates)), r.pageCodes))
}

func (r *drillRig) lookAtAlerts() {
	now := map[string]string{}
	for _, a := range r.prometheus.Alerts(r.t) {
		if name := a.Labels["alertname"]; !r.elsewhere(name) && now[name] != "firing" {
			now[name] = a.State
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if r.alerts[name] != now[name] && !r.begin.IsZero() {
			r.tell("alert", "", name+" is "+now[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.alerts)) {
		if now[name] == "" && !r.begin.IsZero() {
			r.tell("alert", "", name+" is over")
		}
	}
	r.alerts = now
}

// elsewhere tells whether an alert is for what else this machine has to do.
func (r *drillRig) elsewhere(alert string) bool {
	if alert != tooFewCores || r.drill.alert != tooFewCores {
		return alert == tooFewCores
	}
	return !r.healed.IsZero() && len(r.prometheus.Query(r.t, "max(cvfeeder_workers_busy_ratio) < 0.9")) > 0
}

func (r *drillRig) lookAtNotifications() {
	all := r.manager.Told()
	for _, n := range all[r.noted:] {
		if r.elsewhere(n.Alert) {
			continue
		}
		r.told[n.Alert] = n.Firing
		r.everTold[n.Alert] = r.everTold[n.Alert] || n.Firing > 0 && !r.begin.IsZero() && r.healed.IsZero()
		text := fmt.Sprintf("%s: %s, %d", n.Receiver, n.Alert, n.Firing)
		if n.Firing == 0 {
			text = fmt.Sprintf("%s: %s is over", n.Receiver, n.Alert)
		}
		if !r.begin.IsZero() {
			r.tell("told", "", text)
		}
	}
	r.noted = len(all)
}

// values tells the values of the drill's metrics.
func (r *drillRig) values(when string) {
	r.t.Helper()
	for _, query := range r.drill.metrics {
		var all []string
		for _, s := range r.prometheus.Query(r.t, query) {
			if len(s.Value) == 2 {
				all = append(all, strings.TrimPrefix(label(s.Metric)+" ", " ")+short(fmt.Sprint(s.Value[1])))
			}
		}
		slices.Sort(all)
		if len(all) > 4 {
			all = append(all[:4], fmt.Sprintf("and %d more", len(all)-4))
		}
		r.tell("metric", "", fmt.Sprintf("%s, %s: %s", query, when, strings.Join(all, ", ")))
	}
}

// label returns the labels of a series that are not the same for all.
func label(metric map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(metric)) {
		if !slices.Contains([]string{"__name__", "instance", "job"}, name) {
			all = append(all, metric[name])
		}
	}
	return strings.Join(all, " ")
}

// short returns a number with three digits.
func short(number string) string {
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return number
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

// transcript returns what was seen, in order, with the seconds since the incident and,
// later, since the mend.
func (r *drillRig) transcript() string {
	var b strings.Builder
	mended, alike := false, 0
	event := regexp.MustCompile(`^level=\w+ msg="[^"]*"`)
	for i, e := range r.events {
		if alike++; i == 0 || e.kind != "log" || r.events[i-1].kind != "log" || event.FindString(e.text) != event.FindString(r.events[i-1].text) {
			alike = 0
		}
		if alike > 3 {
			continue
		}
		if alike == 3 {
			e.text = "… and more of the same"
		}
		since := e.at.Sub(r.begin).Seconds()
		if mended = mended || e.kind == "mend"; mended {
			since = e.at.Sub(r.healed).Seconds()
		}
		if e.kind == "incident" || e.kind == "mend" {
			b.WriteString(strings.TrimPrefix("\n", strings.Repeat("\n", 1-min(b.Len(), 1))))
		}
		fmt.Fprintf(&b, "%6.1f s  %-9s %s\n", max(since, 0), e.kind, strings.ReplaceAll(e.text, "\n", "\n"+strings.Repeat(" ", 20)))
	}
	return b.String()
}

// reload has the feeder read its config again.
func (r *drillRig) reload() { r.feeder.signal(syscall.SIGHUP) }
