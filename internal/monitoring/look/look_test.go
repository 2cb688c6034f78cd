package look_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/monitoring"
	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
)

var (
	out    = flag.String("look", "", "directory for the pictures; without it nothing is drawn")
	again  = flag.Bool("again", false, "draw what the demo of the last time has left, without a new one")
	record = flag.Bool("record", false, "write what prometheus-nats-exporter tells to testdata")
	length = flag.Duration("length", 4*time.Minute, "how long the demo lasts")
)

// step is the time between two points of a line.
const step = 2 * time.Second

// A demo is what has been scraped of one.
type demo struct{ From, To time.Time }

// TestLook draws the dashboards after a demo with faults.
func TestLook(t *testing.T) {
	if *out == "" {
		t.Skip("make dashboards-look draws the dashboards")
	}
	dir, err := filepath.Abs(*out)
	if err != nil {
		t.Fatal(err)
	}
	data, file := filepath.Join(dir, "prometheus"), filepath.Join(dir, "demo.json")
	var d demo
	var p *promtest.Prometheus
	if *again {
		readJSON(t, file, &d)
		p = promtest.Start(t, promtest.Options{Target: "127.0.0.1:1", Data: data})
	} else {
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
		p, d = runDemo(t, dir, data)
		writeJSON(t, file, d)
	}
	all, err := monitoring.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	site, tab := serve(t, dir), browser(t)
	for _, dashboard := range all {
		var m model
		if err := json.Unmarshal(dashboard.JSON, &m); err != nil {
			t.Fatal(err)
		}
		site.show(ask(t, p, d, m, dashboard.JSON))
		name := strings.TrimSuffix(dashboard.File, ".json")
		for _, theme := range []string{"dark", "light"} {
			site.draw(t, tab, theme, filepath.Join(dir, name+"-"+theme+".png"), m)
		}
	}
}

// A model is the part of a dashboard that the queries are in.
type model struct {
	Title  string
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ Y, H int }
		Targets []struct {
			RefID, Expr, LegendFormat string
			Instant                   bool
		}
	}
	Annotations struct {
		List []struct {
			Name, Expr, IconColor string
			UseValueForTime       bool
		}
	}
}

// A look is what the page draws.
type look struct {
	Dashboard   json.RawMessage                       `json:"dashboard"`
	Answers     map[string]map[string]json.RawMessage `json:"answers"` // by panel and query
	Annotations []mark                                `json:"annotations"`
	From        float64                               `json:"from"`
	To          float64                               `json:"to"`
	Step        float64                               `json:"step"`
}

// A mark is an annotation with its times.
type mark struct {
	Color string    `json:"color"`
	Times []float64 `json:"times"`
}

// ask returns what Prometheus has for a dashboard. Panels without data fail the test.
func ask(t *testing.T, p *promtest.Prometheus, d demo, m model, dashboard []byte) look {
	t.Helper()
	whole := strconv.Itoa(int(d.To.Sub(d.From).Seconds())) + "s"
	expand := strings.NewReplacer("$__rate_interval", "10s", "$__range", whole, `stream="$stream"`, `stream="cam-1"`,
		"$stream", ".*", "$instance", ".*", "$price", "10").Replace
	l := look{
		Dashboard: dashboard, Answers: map[string]map[string]json.RawMessage{},
		From: float64(d.From.Unix()), To: float64(d.To.Unix()), Step: step.Seconds(),
	}
	for _, panel := range m.Panels {
		answers, points := map[string]json.RawMessage{}, 0
		for _, q := range panel.Targets {
			raw := p.Range(t, expand(q.Expr), d.From, d.To, step)
			if q.Instant {
				raw = p.At(t, expand(q.Expr), d.To)
			}
			answers[q.RefID] = raw
			points += checkAnswer(t, m.Title+", "+panel.Title, panel.Type == "timeseries", raw, q.LegendFormat)
		}
		if points == 0 && panel.Type != "row" {
			t.Errorf("%s: the panel %q has no data", m.Title, panel.Title)
		}
		l.Answers[strconv.Itoa(panel.ID)] = answers
	}
	for _, a := range m.Annotations.List {
		times := marked(t, p.Range(t, expand(a.Expr), d.From, d.To, step), a.UseValueForTime)
		if len(times) == 0 {
			t.Errorf("%s: the annotation %s marks nothing", m.Title, a.Name)
		}
		l.Annotations = append(l.Annotations, mark{Color: a.IconColor, Times: times})
	}
	return l
}

// A series is one in an answer, over time or at an instant.
type series struct {
	Metric     map[string]string
	Values     [][2]any
	Value      []any
	Histograms []any
}

// checkAnswer returns how many series with numbers there are.
func checkAnswer(t *testing.T, what string, lines bool, raw json.RawMessage, legend string) (points int) {
	t.Helper()
	var all []series
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for _, s := range all {
		if missing := promtest.Unnamed(s.Metric, legend, sameStream(what)...); lines && len(missing) > 0 {
			t.Errorf("%s: the legend %q does not name %v", what, legend, missing)
		}
		numbers := len(s.Histograms)
		for _, v := range append(s.Values, [2]any{nil, "NaN"}) {
			if v[1] != "NaN" {
				numbers++
			}
		}
		if numbers > 0 || len(s.Value) == 2 && s.Value[1] != "NaN" {
			points++
		}
	}
	return points
}

// sameStream is the label that is the same in the whole dashboard of one stream.
func sameStream(what string) []string {
	if strings.HasPrefix(what, "cvfeeder: Stream") {
		return []string{"stream"}
	}
	return nil
}

// marked returns when an annotation begins.
func marked(t *testing.T, raw json.RawMessage, valueIsTime bool) (times []float64) {
	t.Helper()
	var all []series
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		last := 0.0
		for _, v := range s.Values {
			at, _ := v[0].(float64)
			if valueIsTime {
				ms, err := strconv.ParseFloat(v[1].(string), 64)
				if err != nil {
					t.Fatal(err)
				}
				if at = ms / 1000; at == last {
					continue
				}
			} else if at-last < 1.5*step.Seconds() {
				last = at
				continue
			}
			times, last = append(times, at), at
		}
	}
	return times
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func writeJSON(t *testing.T, file string, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
