package deploytest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
)

var update = flag.Bool("update", false, "write what the chart renders to testdata/chart, and the config's schema to the chart's")

// chart is the chart, and rules and dashboards are what it takes from elsewhere.
const (
	chart      = docker + "/helm/cvfeeder"
	rules      = docker + "/prometheus/*.yml"
	dashboards = docker + "/grafana/dashboards/*.json"
)

// A variant is a way in which the chart is installed.
type variant struct {
	name string
	args []string
}

// variants are those of the chart's own examples, and small changes to them.
func variants() []variant {
	file := func(name string) string { return "--values=" + filepath.Join(chart, "ci", name+"-values.yaml") }
	return []variant{
		{"standalone", []string{file("standalone")}},
		{"sidecar", []string{file("sidecar")}},
		{"leaf", []string{file("leaf")}},
		{"everything", []string{file("everything")}},
		{"hpa", []string{file("standalone"), "--set=autoscaling.enabled=true,autoscaling.with=hpa"}},
		{"hpa-cpu", []string{file("standalone"), "--set=autoscaling.enabled=true,autoscaling.with=hpa-cpu,cores=3"}},
		{"bare", []string{file("standalone"), "--set=podMonitor.enabled=false,serviceAccount.create=false,networkPolicy.enabled=false,podDisruptionBudget.enabled=false"}},
		{"memory", []string{file("sidecar"), "--set=memory.enabled=true,resources.limits.memory=768Mi"}},
	}
}

// helm runs helm, which must not find fault with anything, and returns what it prints.
func helm(t *testing.T, args ...string) []byte {
	t.Helper()
	return command(t, nil, tool(t, "CVFEEDER_HELM"), args...)
}

func render(t *testing.T, args ...string) []byte {
	t.Helper()
	return helm(t, append([]string{"template", "cvfeeder", chart}, args...)...)
}

// watchChart makes "go test" run a test again when a file of the chart has changed: what helm
// opens does not count.
func watchChart(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{chart + "/*", chart + "/*/*", rules, dashboards} {
		for _, path := range match(t, pattern) {
			if info, err := os.Stat(path); err == nil && !info.IsDir() {
				if _, err := os.ReadFile(path); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func match(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: %v, found %q", pattern, err, found)
	}
	return found
}

func TestChartIsLinted(t *testing.T) {
	watchChart(t)
	helm(t, "lint", "--strict", chart)
	for _, v := range variants() {
		helm(t, append([]string{"lint", "--strict", chart}, v.args...)...)
	}
}

// TestChartRenders compares what the chart renders with testdata/chart, without rules and
// dashboards, which change often, and checks its objects as those of the manifests.
func TestChartRenders(t *testing.T) {
	watchChart(t)
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			got := render(t, append(v.args, "--set=prometheusRule.enabled=false,dashboards.enabled=false")...)
			golden := filepath.Join("testdata/chart", v.name+".golden")
			if *update {
				write(t, golden, 0o600, string(got))
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s, which make docs writes anew (-want +got):\n%s", golden, diff)
			}
			if v.name != "bare" {
				checkObjects(t, parse(t, got))
			}
			checkSchemas(t, tool(t, "CVFEEDER_PYTHON"), got)
		})
	}
}

// TestChartHasRulesAndDashboards: all of them, as they are.
func TestChartHasRulesAndDashboards(t *testing.T) {
	want := map[string]any{}
	for _, path := range match(t, rules) {
		if groups := groupsOf(t, path); groups != nil {
			want["cvfeeder-"+strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".yml"), "_", "-")] = groups
		}
	}
	for _, path := range match(t, dashboards) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want["cvfeeder-"+filepath.Base(path)] = fromJSON(t, text)
	}
	text := render(t, variants()[0].args[0], "--set=podMonitor.enabled=false,prometheusRule.enabled=true,dashboards.enabled=true")
	checkSchemas(t, tool(t, "CVFEEDER_PYTHON"), text)
	got := map[string]any{}
	for _, doc := range documents(text) {
		var o struct {
			Kind     string
			Metadata struct {
				Name   string
				Labels map[string]string
			}
			Data map[string]string
			Spec struct{ Groups any }
		}
		if err := yaml.Unmarshal(doc, &o); err != nil {
			t.Fatal(err)
		}
		switch {
		case o.Kind == "PrometheusRule":
			got[o.Metadata.Name] = o.Spec.Groups
		case o.Metadata.Labels["grafana_dashboard"] == "1":
			for name, text := range o.Data {
				got[name] = fromJSON(t, []byte(text))
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules and dashboards (-want +got):\n%s", diff)
	}
}

// groupsOf returns the groups of rules in a file, nil if it is no file of rules.
func groupsOf(t *testing.T, path string) any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups any }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Groups
}

func fromJSON(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestChartIsPackaged: the archive has the rules and dashboards, which are links in the chart.
func TestChartIsPackaged(t *testing.T) {
	watchChart(t)
	dir, everything := t.TempDir(), variants()[3].args[0]
	helm(t, "package", chart, "--destination", dir)
	want := render(t, everything)
	got := helm(t, "template", "cvfeeder", match(t, dir+"/cvfeeder-*.tgz")[0], everything)
	if !bytes.Equal(want, got) || len(got) < 100_000 {
		t.Errorf("the archive renders %d bytes, other than the %d of the chart", len(got), len(want))
	}
}

// TestChartRefuses: what cannot work is an error that says so.
func TestChartRefuses(t *testing.T) {
	watchChart(t)
	program := tool(t, "CVFEEDER_HELM")
	standalone, sidecar := variants()[0].args[0], variants()[1].args[0]
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"no cameras":         {nil, "--set 'config.streams[0].prefix=cam-'"},
		"a misspelt key":     {[]string{standalone, "--set=config.nats.urls=x"}, "additional properties 'urls' not allowed"},
		"a misspelt value":   {[]string{standalone, "--set=replica=3"}, "additional properties 'replica' not allowed"},
		"a wrong preset":     {[]string{standalone, "--set=config.outputs.detector.preset=yolov8"}, "/config/outputs/detector/preset"},
		"an unknown mode":    {[]string{standalone, "--set=mode=daemon"}, "'standalone', 'sidecar', 'leaf'"},
		"a role by its name": {[]string{standalone, "--set=serviceAccount.roleArn=cvfeeder"}, "/serviceAccount/roleArn"},
		"no model":           {[]string{sidecar, "--set=model.container=null"}, "--set model.container.image="},
		"memory alone":       {[]string{standalone, "--set=memory.enabled=true"}, "memory.enabled is for the modes sidecar and leaf"},
		"a scaled sidecar":   {[]string{sidecar, "--set=autoscaling.enabled=true"}, "autoscaling.enabled is for the mode standalone"},
	} {
		out, err := exec.CommandContext(t.Context(), program, append([]string{"template", "cvfeeder", chart}, tt.args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), tt.says) {
			t.Errorf("%s: %v, want %q in\n%s", name, err, tt.says, out)
		}
	}
}

// TestChartKnowsTheConfig: the schema of the values has that of the config file, without what
// is an error of the chart, which says how to mend it.
func TestChartKnowsTheConfig(t *testing.T) {
	path := filepath.Join(chart, "values.schema.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	want, ours := fromJSON(t, schema).(map[string]any), fromJSON(t, text).(map[string]any)
	for _, key := range []string{"$schema", "title", "required"} {
		delete(want, key)
	}
	ours["properties"].(map[string]any)["config"] = want
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(ours); err != nil {
		t.Fatal(err)
	}
	if *update {
		write(t, path, 0o600, out.String())
	} else if out.String() != string(text) {
		t.Errorf("%s is not in step with the config: run make docs", path)
	}
}

// parent returns the directory of a chart that includes ours, as its dependency.
func parent(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/parent")); err != nil {
		t.Fatal(err)
	}
	ours, err := filepath.Abs(chart)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "Chart.yaml"), 0o600, strings.ReplaceAll(string(text), "oci://registry.example/charts", "file://"+ours))
	helm(t, "dependency", "update", dir)
	return dir
}

// TestChartInAnother: a chart of the user's includes the sidecar in its own pods.
func TestChartInAnother(t *testing.T) {
	watchChart(t)
	dir := parent(t)
	for _, mode := range []string{"sidecar", "leaf"} {
		got := helm(t, "template", "vision", dir, "--set=cvfeeder.mode="+mode)
		checkSchemas(t, tool(t, "CVFEEDER_PYTHON"), got)
		var names []string
		for _, o := range parse(t, got) {
			for _, c := range slices.Concat(o.Spec.Template.Spec.InitContainers, o.Spec.Template.Spec.Containers) {
				names = append(names, c.Name)
			}
			if label := o.Spec.Template.Metadata.Labels["app.kubernetes.io/instance"]; o.Kind == "Deployment" && label != "vision" {
				t.Errorf("%s: the network policy does not select the pods: instance is %q", mode, label)
			}
		}
		if want := map[string][]string{"sidecar": {"cvfeeder", "detector"}, "leaf": {"nats", "cvfeeder", "detector"}}[mode]; !slices.Equal(names, want) {
			t.Errorf("%s: containers %v, want %v", mode, names, want)
		}
	}
}

// TestChartSaysWhatIsNext reads the notes that helm prints after it has installed the chart.
func TestChartSaysWhatIsNext(t *testing.T) {
	watchChart(t)
	for name, tt := range map[string]struct {
		args []string
		says []string
		not  string
	}{
		"standalone": {[]string{variants()[0].args[0]}, []string{
			"publish tensors to\nnats://nats.nats.svc:4222.", "rollout status deployment/cvfeeder", "config.delivery.stream.replicas to 1",
		}, "create-pod-identity-association"},
		"sidecar": {[]string{variants()[1].args[0], "--set=serviceAccount.roleArn=,podMonitor.enabled=false"}, []string{
			"beside the model in inference", "--service-account cvfeeder\n", "set podMonitor.enabled",
		}, "delivery.stream.replicas"},
		"parts": {[]string{variants()[1].args[0], "--set=model.enabled=false"}, []string{"included by another chart"}, "rollout"},
	} {
		out := string(helm(t, append([]string{"install", "cvfeeder", chart, "--dry-run=client"}, tt.args...)...))
		_, notes, ok := strings.Cut(out, "\nNOTES:\n")
		for _, says := range tt.says {
			if !ok || !strings.Contains(notes, says) {
				t.Errorf("%s: the notes do not say %q:\n%s", name, says, notes)
			}
		}
		if strings.Contains(notes, tt.not) {
			t.Errorf("%s: the notes say %q:\n%s", name, tt.not, notes)
		}
	}
}

// TestScalingQuery: what KEDA asks Prometheus counts the replicas of the release, and no
// others, so that two of them, busy by 90% and 80%, become three.
func TestScalingQuery(t *testing.T) {
	watchChart(t)
	query, threshold := "", ""
	for _, doc := range documents(render(t, variants()[3].args[0], "--namespace=vision")) {
		var o struct {
			Spec struct {
				Triggers []struct {
					Metadata struct{ Query, Threshold string }
				}
			}
		}
		if err := yaml.Unmarshal(doc, &o); err != nil {
			t.Fatal(err)
		}
		for _, trigger := range o.Spec.Triggers {
			query, threshold = trigger.Metadata.Query, trigger.Metadata.Threshold
		}
	}
	busy := func(namespace, pod, value string) map[string]string {
		return map[string]string{"series": fmt.Sprintf(`cvfeeder_workers_busy_ratio{namespace=%q, pod=%q}`, namespace, pod), "values": value + "x10"}
	}
	test, err := json.Marshal(map[string]any{"tests": []any{map[string]any{
		"interval": "1m",
		"input_series": []any{
			busy("vision", "cvfeeder-frames-7d9c6b5f4-abcde", "0.9"), busy("vision", "cvfeeder-frames-7d9c6b5f4-fghij", "0.8"),
			busy("vision", "cvfeeder-frames-night-7d9c6b5f4-abcde", "0.9"), busy("vision", "cvfeeder-7d9c6b5f4-abcde", "0.9"), busy("other", "cvfeeder-frames-7d9c6b5f4-klmno", "0.9"),
		},
		"promql_expr_test": []any{map[string]any{
			"expr": "ceil(" + query + " / " + threshold + ")", "eval_time": "5m",
			"exp_samples": []any{map[string]any{"labels": "{}", "value": 3}},
		}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "test.yml")
	write(t, file, 0o600, string(test))
	command(t, nil, promtest.Program(t, "promtool"), "test", "rules", file)
}
