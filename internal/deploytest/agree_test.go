package deploytest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// TestChartAgreesWithManifests renders each overlay with kustomize and, with equal settings,
// with the chart. They are equal but for what each program adds: helm its labels, and
// kustomize the namespace.
func TestChartAgreesWithManifests(t *testing.T) {
	watchChart(t)
	kustomize := tool(t, "CVFEEDER_KUSTOMIZE")
	for i, overlay := range []string{"standalone", "sidecar", "leaf"} {
		t.Run(overlay, func(t *testing.T) {
			want := normal(t, command(t, nil, kustomize, "build", withComponent(t, overlay, "podmonitor")))
			got := normal(t, render(t, variants()[i].args...))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("manifests and chart differ (-manifests +chart):\n%s", diff)
			}
			if len(got) < 6 {
				t.Errorf("only %d objects were compared", len(got))
			}
		})
	}
}

// TestChartAgreesWithMemory: the component for memory and the chart's values make the same pod.
func TestChartAgreesWithMemory(t *testing.T) {
	watchChart(t)
	kustomize, chart := tool(t, "CVFEEDER_KUSTOMIZE"), variants()
	for i, overlay := range []string{"sidecar", "leaf"} {
		component := []string{"memory", "memory-leaf"}[i]
		built := command(t, nil, kustomize, "build", withComponent(t, overlay, component))
		checkSchemas(t, tool(t, "CVFEEDER_PYTHON"), built)
		got := normal(t, render(t, append(chart[i+1].args, "--set=memory.enabled=true,resources.limits.memory=768Mi")...))
		deployments := 0
		for name, want := range normal(t, built) {
			if !strings.HasPrefix(name, "Deployment ") {
				continue
			}
			deployments++
			if diff := cmp.Diff(want, got[name]); diff != "" {
				t.Errorf("%s differs (-manifests +chart):\n%s", name, diff)
			}
			if text := fmt.Sprint(want); strings.Count(text, "mountPath:/tensors") != 2 || !strings.Contains(text, "CVFEEDER_MEMORY") {
				t.Errorf("cvfeeder and the model do not share memory: %s", text)
			}
		}
		if deployments != 1 {
			t.Errorf("there are %d deployments", deployments)
		}
		config := got["ConfigMap cvfeeder"].(map[string]any)["data"].(map[string]any)["cvfeeder.yaml"].(map[string]any)
		if memory := config["delivery"].(map[string]any)["memory"]; memory != "/tensors/cvfeeder" {
			t.Errorf("the chart's config has delivery.memory: %v", memory)
		}
	}
}

// hashed matches the end of a name that changes with the content.
var hashed = regexp.MustCompile(`^(cvfeeder-nats-leaf)-[0-9a-z]{10}$`)

// normal returns objects by kind and name, without what kustomize and helm add, with lists
// whose order means nothing in one order, and with config files as what they say.
func normal(t *testing.T, text []byte) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, doc := range documents(text) {
		var o map[string]any
		if err := yaml.Unmarshal(doc, &o); err != nil {
			t.Fatal(err)
		}
		o = plain(o).(map[string]any)
		if o["kind"] == "Namespace" {
			continue
		}
		metadata := o["metadata"].(map[string]any)
		delete(metadata, "namespace")
		if o["kind"] != "Deployment" {
			delete(metadata, "labels")
		}
		if data, ok := o["data"].(map[string]any); ok && data["cvfeeder.yaml"] != nil {
			var cfg any
			if err := yaml.Unmarshal([]byte(data["cvfeeder.yaml"].(string)), &cfg); err != nil {
				t.Fatal(err)
			}
			data["cvfeeder.yaml"] = cfg
		}
		all[o["kind"].(string)+" "+metadata["name"].(string)] = o
	}
	return all
}

// plain returns a value of YAML without the labels of helm and the hashes of names.
func plain(v any) any {
	switch v := v.(type) {
	case string:
		return hashed.ReplaceAllString(v, "$1")
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
		return v
	case map[string]any:
		for _, label := range []string{"helm.sh/chart", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"} {
			delete(v, label)
		}
		for key := range v {
			v[key] = plain(v[key])
			if list, ok := v[key].([]any); ok && slices.Contains([]string{"env", "volumes", "volumeMounts"}, key) {
				slices.SortFunc(list, func(a, b any) int {
					return strings.Compare(a.(map[string]any)["name"].(string), b.(map[string]any)["name"].(string))
				})
			}
		}
		return v
	}
	return v
}

// TestDocumentedChart: what docs/deployment.md shows of a chart that includes the sidecar is
// what the tests render, and the chart takes the other values that it shows.
func TestDocumentedChart(t *testing.T) {
	watchChart(t)
	rest := string(read(t, "../docs/deployment.md"))
	for _, name := range []string{"values.yaml", "templates/deployment.yaml"} {
		text, err := os.ReadFile(filepath.Join("testdata/parent", name))
		if err != nil {
			t.Fatal(err)
		}
		before, after, ok := strings.Cut(rest, "```yaml\n"+string(text)+"```\n")
		if !ok {
			t.Fatalf("docs/deployment.md does not show testdata/parent/%s", name)
		}
		rest = before + after
	}
	shown := regexp.MustCompile("(?ms)^```yaml\n(# values.yaml\n.*?)^```$").FindAllStringSubmatch(rest, -1)
	if len(shown) == 0 {
		t.Error("docs/deployment.md shows no values")
	}
	for i, m := range shown {
		values := filepath.Join(t.TempDir(), strconv.Itoa(i)+".yaml")
		write(t, values, 0o600, m[1])
		helm(t, "lint", "--strict", chart, "--values="+values)
		checkObjects(t, parse(t, render(t, "--values="+values)))
	}
}
