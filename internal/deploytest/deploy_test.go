// Package deploytest tests the files that cvfeeder is deployed with, docker/compose.yaml
// and docker/kubernetes, against the published schemas of their formats and against
// cvfeeder itself. It has nothing to call.
package deploytest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/health"
)

const docker = "../../docker"

// drain is within what cvfeeder ends, whatever hangs.
const drain = 25 * time.Second

// tool returns the path in an environment variable that "make test" sets.
func tool(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("%s is not set: `make test` sets it", variable)
	}
	return path
}

// command runs a program and returns what it prints.
func command(t *testing.T, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &problems
	if err := cmd.Run(); err != nil {
		t.Errorf("%v: %v\n%s%s", cmd, err, &out, &problems)
	}
	return out.Bytes()
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docker, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// parseConfig reads a config as cvfeeder does. Each variable of the environment is "secret".
func parseConfig(t *testing.T, name string, text []byte) *config.Config {
	t.Helper()
	cfg, err := config.Parse(name, text, func(string) (string, bool) { return "secret", true })
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// checkConfig checks that cvfeeder accepts a config, and listens on an address that
// probes and Prometheus can reach.
func checkConfig(t *testing.T, name string, text []byte) {
	t.Helper()
	cfg := parseConfig(t, name, text)
	if want := "0.0.0.0:9177"; cfg.HTTP.Listen != want {
		t.Errorf("%s: http.listen is %q, want %q", name, cfg.HTTP.Listen, want)
	}
}

func TestNATSAcceptsItsConfigs(t *testing.T) {
	t.Setenv("POD_NAME", "inference-0")
	for _, tt := range []struct {
		file      string
		jetstream bool
		leaves    int
	}{
		{file: "nats/nats.conf", jetstream: true},
		{file: "kubernetes/overlays/leaf/nats.conf", leaves: 1},
	} {
		opts, err := server.ProcessConfigFile(filepath.Join(docker, tt.file))
		if err != nil {
			t.Errorf("%s: %v", tt.file, err)
			continue
		}
		// 640x640 float32, with its headers
		if least := int32(640*640*3*4 + 4096); opts.MaxPayload < least {
			t.Errorf("%s: max_payload is %d, below a tensor's %d", tt.file, opts.MaxPayload, least)
		}
		if opts.JetStream != tt.jetstream || len(opts.LeafNode.Remotes) != tt.leaves {
			t.Errorf("%s: JetStream %t, %d leaf nodes", tt.file, opts.JetStream, len(opts.LeafNode.Remotes))
		}
	}
}

// An object is a Kubernetes object, with only the fields that are checked here.
type object struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Data map[string]string `yaml:"data"`
	Spec struct {
		Replicas  int    `yaml:"replicas"`
		Unhealthy string `yaml:"unhealthyPodEvictionPolicy"`
		Egress    []struct {
			To []struct {
				Block struct {
					CIDR string `yaml:"cidr"`
				} `yaml:"ipBlock"`
			} `yaml:"to"`
			Ports []struct {
				Port int `yaml:"port"`
			} `yaml:"ports"`
		} `yaml:"egress"`
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		} `yaml:"selector"`
		PodSelector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		} `yaml:"podSelector"`
		Template struct {
			Metadata struct {
				Labels map[string]string `yaml:"labels"`
			} `yaml:"metadata"`
			Spec struct {
				ServiceAccountName string `yaml:"serviceAccountName"`
				Grace              int    `yaml:"terminationGracePeriodSeconds"`
				Spread             []struct {
					Key    string `yaml:"topologyKey"`
					Unless string `yaml:"whenUnsatisfiable"`
				} `yaml:"topologySpreadConstraints"`
				InitContainers []container `yaml:"initContainers"`
				Containers     []container `yaml:"containers"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type container struct {
	Name            string `yaml:"name"`
	Image           string `yaml:"image"`
	StartupProbe    any    `yaml:"startupProbe"`
	LivenessProbe   any    `yaml:"livenessProbe"`
	ReadinessProbe  any    `yaml:"readinessProbe"`
	SecurityContext struct {
		NonRoot    bool  `yaml:"runAsNonRoot"`
		ReadOnly   bool  `yaml:"readOnlyRootFilesystem"`
		Escalation *bool `yaml:"allowPrivilegeEscalation"`
		Drop       struct {
			Names []string `yaml:"drop"`
		} `yaml:"capabilities"`
		Seccomp struct {
			Type string `yaml:"type"`
		} `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Resources struct {
		Requests map[string]string `yaml:"requests"`
		Limits   map[string]string `yaml:"limits"`
	} `yaml:"resources"`
}

// withComponent returns a directory with an overlay and a component, as a user puts them
// together.
func withComponent(t *testing.T, overlay, component string) string {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string {
		abs, err := filepath.Abs(filepath.Join(docker, "kubernetes", name))
		if err != nil {
			t.Fatal(err)
		}
		relative, err := filepath.Rel(dir, abs)
		if err != nil {
			t.Fatal(err)
		}
		return relative
	}
	text := fmt.Sprintf("resources: [%s]\ncomponents: [%s]\n", path("overlays/"+overlay), path("components/"+component))
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestManifests builds each overlay and checks its objects against the schemas of two
// versions of Kubernetes: the oldest that has sidecars, and the newest. Without the component
// for Prometheus, an overlay has only kinds that every cluster knows.
func TestManifests(t *testing.T) {
	kustomize, python := tool(t, "CVFEEDER_KUSTOMIZE"), tool(t, "CVFEEDER_PYTHON")
	for _, overlay := range []string{"standalone", "sidecar", "leaf"} {
		t.Run(overlay, func(t *testing.T) {
			plain := command(t, nil, kustomize, "build", filepath.Join(docker, "kubernetes/overlays", overlay))
			if bytes.Contains(plain, []byte("monitoring.coreos.com")) {
				t.Error("without the Prometheus operator, it cannot be applied")
			}
			built := command(t, nil, kustomize, "build", withComponent(t, overlay, "podmonitor"))
			checkSchemas(t, python, built)
			checkObjects(t, parse(t, built))
		})
	}
}

// documents returns the documents of a YAML file that have something in them.
func documents(text []byte) [][]byte {
	var all [][]byte
	for _, doc := range bytes.Split(append([]byte("\n"), text...), []byte("\n---\n")) {
		if bytes.Contains(doc, []byte("kind:")) {
			all = append(all, doc)
		}
	}
	return all
}

func parse(t *testing.T, text []byte) []object {
	t.Helper()
	var objects []object
	for _, doc := range documents(text) {
		var o object
		if err := yaml.Unmarshal(doc, &o); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	return objects
}

// checkSchemas checks objects against the schemas of two versions of Kubernetes, and against
// the types of the Prometheus operator. Those of KEDA are checked by a real API server only.
func checkSchemas(t *testing.T, python string, text []byte) {
	t.Helper()
	var files []string
	for i, doc := range documents(text) {
		var o object
		if err := yaml.Unmarshal(doc, &o); err != nil {
			t.Fatal(err)
		}
		switch o.Kind {
		case "PodMonitor", "PrometheusRule":
			command(t, doc, "go", "run", "-C", "testdata/operator", ".")
		case "ScaledObject":
		default:
			file := filepath.Join(t.TempDir(), fmt.Sprintf("%d-%s.yaml", i, o.Kind))
			write(t, file, 0o600, string(doc))
			files = append(files, file)
		}
	}
	for _, version := range []string{"1.29.0", "1.37.0"} {
		args := append([]string{"-m", "kubernetes_validate", "--strict", "-k", version}, files...)
		command(t, nil, python, args...)
	}
}

// checkObjects checks that the objects of an overlay fit together.
func checkObjects(t *testing.T, objects []object) {
	t.Helper()
	kinds := map[string]object{}
	for _, o := range objects {
		kinds[o.Kind] = o
		if text, ok := o.Data["cvfeeder.yaml"]; ok {
			checkConfig(t, o.Metadata.Name, []byte(text))
		}
	}
	for _, kind := range []string{"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor", "ServiceAccount"} {
		if kinds[kind].Kind == "" {
			t.Fatalf("there is no %s", kind)
		}
	}
	pod := kinds["Deployment"].Spec.Template
	for kind, selector := range map[string]map[string]string{
		"Deployment":          kinds["Deployment"].Spec.Selector.MatchLabels,
		"NetworkPolicy":       kinds["NetworkPolicy"].Spec.PodSelector.MatchLabels,
		"PodDisruptionBudget": kinds["PodDisruptionBudget"].Spec.Selector.MatchLabels,
		"PodMonitor":          kinds["PodMonitor"].Spec.Selector.MatchLabels,
	} {
		for label, value := range selector {
			if pod.Metadata.Labels[label] != value {
				t.Errorf("%s selects %s=%s, and the pod has %s", kind, label, value, pod.Metadata.Labels[label])
			}
		}
		if len(selector) == 0 {
			t.Errorf("%s selects every pod", kind)
		}
	}
	if got := pod.Spec.ServiceAccountName; got != kinds["ServiceAccount"].Metadata.Name {
		t.Errorf("the pod's service account is %q", got)
	}
	if got := time.Duration(pod.Spec.Grace) * time.Second; got < drain {
		t.Errorf("the pod is killed after %v, before cvfeeder has finished", got)
	}
	if got := kinds["PodDisruptionBudget"].Spec.Unhealthy; got != "AlwaysAllow" {
		t.Errorf("while NATS is away, no node can be drained: unhealthyPodEvictionPolicy is %q", got)
	}
	checkSpread(t, kinds["Deployment"])
	checkEgress(t, kinds["NetworkPolicy"])
	checkReadiness(t, objects)
	names := map[string]bool{}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		names[c.Name] = true
		checkContainer(t, c)
	}
	if !names["cvfeeder"] {
		t.Errorf("the pod has no cvfeeder, but %v", names)
	}
}

// checkReadiness checks that cameras matter to the readiness of pods that have nothing but
// cvfeeder, and to no others.
func checkReadiness(t *testing.T, objects []object) {
	t.Helper()
	beside := false
	for _, o := range objects {
		for _, c := range o.Spec.Template.Spec.Containers {
			beside = beside || c.Name != "cvfeeder"
		}
	}
	want := map[bool]health.Need{true: health.None, false: health.Any}[beside]
	for _, o := range objects {
		if text, ok := o.Data["cvfeeder.yaml"]; ok {
			if got := parseConfig(t, o.Metadata.Name, []byte(text)).HTTP.Ready; got != want {
				t.Errorf("http.ready is %q, want %q", got, want)
			}
		}
	}
}

// checkSpread checks that replicas do not share a node.
func checkSpread(t *testing.T, deployment object) {
	t.Helper()
	if deployment.Spec.Replicas < 2 {
		return
	}
	for _, c := range deployment.Spec.Template.Spec.Spread {
		if c.Key == "kubernetes.io/hostname" && c.Unless == "DoNotSchedule" {
			return
		}
	}
	t.Errorf("%d replicas may share a node", deployment.Spec.Replicas)
}

// checkEgress checks that names can be resolved wherever that is done, and that the agent of
// EKS Pod Identity can be reached.
func checkEgress(t *testing.T, policy object) {
	t.Helper()
	names, identity := false, false
	for _, rule := range policy.Spec.Egress {
		for _, port := range rule.Ports {
			names = names || port.Port == 53 && len(rule.To) == 0
			for _, to := range rule.To {
				identity = identity || port.Port == 80 && to.Block.CIDR == "169.254.170.23/32"
			}
		}
	}
	if !names || !identity {
		t.Errorf("egress of names: %t, to EKS Pod Identity: %t", names, identity)
	}
}

func checkContainer(t *testing.T, c container) {
	t.Helper()
	s := c.SecurityContext
	if !s.NonRoot || !s.ReadOnly || s.Escalation == nil || *s.Escalation || s.Seccomp.Type != "RuntimeDefault" {
		t.Errorf("%s may do more than it needs: %+v", c.Name, s)
	}
	if diff := cmp.Diff([]string{"ALL"}, s.Drop.Names); diff != "" {
		t.Errorf("%s: capabilities dropped (-want +got):\n%s", c.Name, diff)
	}
	if c.Resources.Requests["cpu"] == "" || c.Resources.Requests["memory"] == "" || c.Resources.Limits["memory"] == "" {
		t.Errorf("%s: resources are %+v", c.Name, c.Resources)
	}
	if c.Name == "cvfeeder" && (c.StartupProbe == nil || c.LivenessProbe == nil || c.ReadinessProbe == nil) {
		t.Errorf("%s: a probe is missing", c.Name)
	}
}
