package monitoring_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/internal/monitoring"
	"github.com/cvfeeder/cvfeeder/metrics"
)

var update = flag.Bool("update", false, "write the dashboards below docker/grafana")

const grafanaDir = "../../docker/grafana"

// A model is the part of a dashboard's JSON that the tests look at.
type model struct {
	UID, Title, Description, Refresh string
	SchemaVersion                    int
	Time                             struct{ From, To string }
	Links                            []struct{ URL string }
	Annotations                      struct{ List []struct{ Name, Expr string } }
	Panels                           []panelModel
	Templating                       struct {
		List []struct {
			Name, Type, Label, Description, AllValue string
			Multi                                    bool
			Datasource                               struct{ UID string }
		}
	}
}

type panelModel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ Type, UID string }
	Targets                  []struct {
		RefID, Expr, LegendFormat, Format string
		Datasource                        struct{ UID string }
	}
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Links      []struct{ URL string }
			Thresholds struct{ Steps []struct{ Value *float64 } }
		}
	}
	Options struct {
		Legend struct {
			ShowLegend  bool
			DisplayMode string
			Calcs       []string
		}
	}
	Links []struct{ Title, URL string }
}

func dashboards(t *testing.T) []monitoring.Dashboard {
	t.Helper()
	all, err := monitoring.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func parse(t *testing.T, d monitoring.Dashboard) model {
	t.Helper()
	var m model
	if err := json.Unmarshal(d.JSON, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestFilesAreInStep compares the files with the code. With -update it writes them.
func TestFilesAreInStep(t *testing.T) {
	dir := filepath.Join(grafanaDir, "dashboards")
	var want []string
	for _, d := range dashboards(t) {
		path := filepath.Join(dir, d.File)
		want = append(want, d.File)
		if *update {
			if err := os.WriteFile(path, d.JSON, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(string(d.JSON), read(t, path)); diff != "" {
			t.Errorf("%s is out of date: run make docs (-want +have):\n%s", path, diff)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(want, e.Name()) {
			t.Errorf("%s does not belong to any dashboard", e.Name())
		}
	}
}

// TestSchema checks the files with the types that Grafana generates from its schemas.
func TestSchema(t *testing.T) {
	python := os.Getenv("CVFEEDER_PYTHON")
	if python == "" {
		t.Skip("CVFEEDER_PYTHON does not name a Python with grafana-foundation-sdk: `make test` makes one")
	}
	args := []string{"testdata/schema.py"}
	for _, d := range dashboards(t) {
		args = append(args, filepath.Join(grafanaDir, "dashboards", d.File))
	}
	check := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), python, args...).CombinedOutput()
		return string(out), err
	}
	if out, err := check(args...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// The check finds what is wrong in a broken one.
	broken := strings.NewReplacer(`"colorMode": "value"`, `"colorMode": "rainbow"`, `"orientation": `, `"orientatoin": `, `"schemaVersion": 38`, `"schemaVersion": "38"`).
		Replace(string(dashboards(t)[0].JSON))
	path := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := check(args[0], path)
	for _, want := range []string{"'rainbow' is none of", "orientatoin: the schema has no such field", "'38' is no int"} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("the check of a broken dashboard does not say %q:\n%s", want, out)
		}
	}
}

// units are those of Grafana that the dashboards use.
var units = []string{"short", "none", "s", "percentunit", "bytes", "Bps", "reqps", "ops", "currencyUSD"}

// TestPanels checks the panels by the rules of Grafana's dashboard-linter, and some of our
// own.
func TestPanels(t *testing.T) {
	for _, d := range dashboards(t) {
		ids := map[int]bool{}
		var cells [200][24]bool
		for _, p := range parse(t, d).Panels {
			bad := func(format string, args ...any) {
				t.Errorf("%s, panel %d %q: %s", d.File, p.ID, p.Title, fmt.Sprintf(format, args...))
			}
			if p.ID <= 0 || ids[p.ID] {
				bad("its id is not unique")
			}
			ids[p.ID] = true
			if at := p.GridPos; at.W < 1 || at.H < 1 || at.X+at.W > 24 {
				bad("does not fit into the grid: %+v", at)
			} else {
				for y := at.Y; y < at.Y+at.H; y++ {
					for x := at.X; x < at.X+at.W; x++ {
						if cells[y][x] {
							bad("overlaps another at %d, %d", x, y)
						}
						cells[y][x] = true
					}
				}
			}
			if p.Title == "" {
				bad("no title")
			}
			if p.Type == "row" {
				continue
			}
			checkPanel(p, bad)
		}
	}
}

func checkPanel(p panelModel, bad func(string, ...any)) {
	if !strings.HasSuffix(p.Description, ".") {
		bad("the description is not a sentence")
	}
	if u := p.FieldConfig.Defaults.Unit; !slices.Contains(units, u) && !strings.HasPrefix(u, "suffix:") {
		bad("unit %q", u)
	}
	if p.Datasource.UID != "${datasource}" || p.Datasource.Type != "prometheus" {
		bad("the data source is not the variable")
	}
	steps := p.FieldConfig.Defaults.Thresholds.Steps
	for i, s := range steps {
		if (s.Value == nil) != (i == 0) || i > 1 && *s.Value <= *steps[i-1].Value {
			bad("thresholds are not in order, from none on")
		}
	}
	checkLayout(p, bad)
	checkRunbook(p, bad)
	if len(p.Targets) == 0 {
		bad("no queries")
	}
	for i, q := range p.Targets {
		if q.RefID != string(rune('A'+i)) || q.Datasource.UID != "${datasource}" {
			bad("query %d: refId %q, data source %q", i, q.RefID, q.Datasource.UID)
		}
		if q.LegendFormat == "" {
			bad("query %s has no legend", q.RefID)
		}
		checkQuery(q.Expr, bad)
	}
}

// kinds are the types of panels, all of which Grafana 10 to 12 have, with their least widths.
var kinds = map[string]int{"stat": 4, "timeseries": 8, "heatmap": 8, "state-timeline": 24, "table": 24}

// checkLayout checks that a panel is wide enough for its title and its legend, on a page of
// 1600 pixels. make dashboards-look checks the same in a browser.
func checkLayout(p panelModel, bad func(string, ...any)) {
	least, ok := kinds[p.Type]
	if !ok {
		bad("Grafana 10 to 12 need not have panels of the type %s", p.Type)
	}
	if p.GridPos.W < least {
		bad("a %s of width %d is narrower than %d", p.Type, p.GridPos.W, least)
	}
	const letter, icons, margin = 8, 2 * 32, 16
	if have, need := p.GridPos.W*1568/24-8, letter*len(p.Title)+icons+margin; need > have {
		bad("the title may need %d pixels, and has %d", need, have)
	}
	if legend := p.Options.Legend; p.Type == "timeseries" && (!legend.ShowLegend || legend.DisplayMode != "table" || len(legend.Calcs) < 2 || len(legend.Calcs) > 2 && p.GridPos.W < 12) {
		bad("the legend is no table, or has too many columns: %+v", legend)
	}
}

// checkRunbook checks that a panel links to a section of the runbook.
func checkRunbook(p panelModel, bad func(string, ...any)) {
	runbook, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		bad("%v", err)
	}
	if len(p.Links) != 1 || !strings.HasPrefix(p.Links[0].Title, "Runbook: ") {
		bad("no link to the runbook: %v", p.Links)
		return
	}
	heading := strings.TrimPrefix(p.Links[0].Title, "Runbook: ")
	anchor := strings.ReplaceAll(strings.ToLower(heading), " ", "-")
	if p.Links[0].URL != "https://github.com/cvfeeder/cvfeeder/blob/main/docs/runbook.md#"+anchor {
		bad("the link to the runbook is %s", p.Links[0].URL)
	}
	if !regexp.MustCompile(`(?m)^##+ ` + regexp.QuoteMeta(heading) + `$`).Match(runbook) {
		bad("the runbook has no section %q", heading)
	}
}

var (
	overTime = regexp.MustCompile(`\b(?:rate|increase|irate|deriv|delta)\([^\[]*\[([^\]]+)\]`)
	counter  = regexp.MustCompile(`cvfeeder_\w+_total\b`)
	filter   = regexp.MustCompile(`\b(?:and|unless) on \([^)]*\) cvfeeder_\w+`)
	selector = regexp.MustCompile(`\b(cvfeeder_\w+|process_\w+)(?:\{([^}]*)\})?`)
)

// checkQuery checks that a query works at any zoom, and only for the chosen instances.
func checkQuery(expr string, bad func(string, ...any)) {
	for _, m := range overTime.FindAllStringSubmatch(expr, -1) {
		if m[1] != "$__rate_interval" && m[1] != "$__range" {
			bad("%s: a rate over %s, which is wrong at other zooms", expr, m[1])
		}
	}
	// What only says which series to take needs no rate.
	taken := filter.ReplaceAllString(expr, "")
	if rates, counters := len(overTime.FindAllString(taken, -1)), len(counter.FindAllString(taken, -1)); rates < counters {
		bad("%s: %d counters, %d rates", expr, counters, rates)
	}
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		if !strings.Contains(m[2], `instance=~"$instance"`) && !strings.Contains(expr, "on (instance, stream) "+m[0]) {
			bad("%s: %s is not only of the chosen instances", expr, m[1])
		}
	}
}

// TestVariables: every variable is used, and every one that is used exists.
func TestVariables(t *testing.T) {
	for _, d := range dashboards(t) {
		names := map[string]bool{}
		for _, v := range parse(t, d).Templating.List {
			names[v.Name] = true
			if v.Label == "" || v.Description == "" {
				t.Errorf("%s: the variable %s has no label or description", d.File, v.Name)
			}
			if v.Type == "query" && v.Datasource.UID != "${datasource}" {
				t.Errorf("%s: the variable %s is not of the chosen data source", d.File, v.Name)
			}
			if v.Multi && v.AllValue != ".*" {
				t.Errorf("%s: all of %s is a list of every one", d.File, v.Name)
			}
			if !regexp.MustCompile(`\$` + v.Name + `\b|\$\{` + v.Name + `[}:]`).Match(d.JSON) {
				t.Errorf("%s: nothing uses the variable %s", d.File, v.Name)
			}
		}
		for _, m := range regexp.MustCompile(`\$\{?(\w[\w.]*)`).FindAllStringSubmatch(string(d.JSON), -1) {
			if !names[m[1]] && !strings.HasPrefix(m[1], "__") {
				t.Errorf("%s: $%s is no variable", d.File, m[1])
			}
		}
		if !names["instance"] || !names["stream"] {
			t.Errorf("%s: no variable for the instance or the stream", d.File)
		}
	}
}

// TestLinks: the two dashboards link to each other, and a row or a line of a camera links
// to that camera.
func TestLinks(t *testing.T) {
	all := dashboards(t)
	fleet, stream := all[0], all[1]
	for _, link := range []struct{ from, to monitoring.Dashboard }{{fleet, stream}, {stream, fleet}} {
		m := parse(t, link.from)
		if len(m.Links) != 1 || !strings.HasPrefix(m.Links[0].URL, "/d/"+link.to.UID+"?") {
			t.Errorf("%s does not link to %s: %v", link.from.File, link.to.File, m.Links)
		}
	}
	row := "/d/" + stream.UID + "?var-stream=${__value.text}"
	line := "/d/" + stream.UID + "?var-stream=${__field.labels.stream}"
	for _, url := range []string{row, line} {
		if !strings.Contains(string(fleet.JSON), url) {
			t.Errorf("no link in the fleet begins with %s", url)
		}
	}
}

// TestHeader: both open with a sensible time range, and can be imported into Grafana 10.0 and
// later, which brings the schema up to its own.
func TestHeader(t *testing.T) {
	titles := map[string]bool{}
	for _, d := range dashboards(t) {
		m := parse(t, d)
		if m.UID != d.UID || m.Title == "" || titles[m.Title] || m.Description == "" {
			t.Errorf("%s: uid %q, title %q, description %q", d.File, m.UID, m.Title, m.Description)
		}
		titles[m.Title] = true
		if m.Refresh != "30s" || m.Time.From != "now-1h" || m.Time.To != "now" || m.SchemaVersion != 38 {
			t.Errorf("%s: refresh %s, time %v, schema %d", d.File, m.Refresh, m.Time, m.SchemaVersion)
		}
	}
}

// TestMetricsExist: the dashboards and alerts only use metrics that exist.
func TestMetricsExist(t *testing.T) {
	m := metrics.New(metrics.Build{})
	m.Read(metrics.Sources{
		Connections: func() []metrics.Connection { return nil }, InflightBytes: func() int64 { return 0 },
		MatsOpen: func() int { return 0 }, BusyRatio: func() float64 { return 0 }, Group: func() (int, int) { return 0, 0 },
		ClockOffset: func() time.Duration { return 0 }, Remakes: func() uint64 { return 0 }, Rollbacks: func() uint64 { return 0 },
		NotReady: func() map[health.Code]int { return nil },
		Cores:    func() metrics.Cores { return metrics.Cores{} },
	})
	known := map[string]bool{}
	for _, f := range m.Families() {
		known[f.Name], known[f.Name+"_bucket"] = true, true
	}
	// What a real exporter has told of a real NATS server.
	for _, line := range strings.Split(read(t, "testdata/nats-exporter.txt"), "\n") {
		name, _, _ := strings.Cut(line, "{")
		known[name] = true
	}
	texts := map[string]string{"alerts": ""}
	for _, r := range alerts(t) {
		texts["alerts"] += r.Expr + "\n"
	}
	for _, d := range dashboards(t) {
		m := parse(t, d)
		for _, p := range m.Panels {
			for _, q := range p.Targets {
				texts[d.File] += q.Expr + "\n"
			}
		}
		for _, a := range m.Annotations.List {
			texts[d.File] += a.Expr + "\n"
		}
	}
	for file, text := range texts {
		for _, name := range regexp.MustCompile(`\b(?:cvfeeder|gnatsd|jetstream)_\w+`).FindAllString(text, -1) {
			if !known[name] {
				t.Errorf("%s uses %s, which is not a metric", file, name)
			}
		}
	}
}

// TestProvisioning: Grafana finds the data source and the dashboards.
func TestProvisioning(t *testing.T) {
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, URL string
			IsDefault            bool `yaml:"isDefault"`
		}
	}
	strict(t, "provisioning/datasources/prometheus.yml", &sources)
	if s := sources.Datasources; sources.APIVersion != 1 || len(s) != 1 || s[0].Type != "prometheus" || !s[0].IsDefault || s[0].UID == "" || s[0].URL == "" {
		t.Errorf("data sources: %+v", sources)
	}
	var providers struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	strict(t, "provisioning/dashboards/cvfeeder.yml", &providers)
	if p := providers.Providers; providers.APIVersion != 1 || len(p) != 1 || p[0].Type != "file" || p[0].Options.Path != "/etc/grafana/dashboards" {
		t.Errorf("providers: %+v", providers)
	}
}

func strict(t *testing.T, file string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(grafanaDir, file))), into); err != nil {
		t.Fatal(err)
	}
}
