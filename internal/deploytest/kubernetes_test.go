//go:build linux

package deploytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
)

// restricted is a namespace that admits only what Pod Security calls restricted.
const restricted = `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": %q, "labels": {
"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}}}`

// TestKubernetes installs the manifests and the chart in a real Kubernetes, in namespaces that
// enforce Pod Security's "restricted". An admission warning is an error.
func TestKubernetes(t *testing.T) {
	c := startCluster(t)
	k := startKubelet(t, c, 3)
	t.Run("without the definitions of operators", func(t *testing.T) {
		c.testManifests(t, "")
		c.testOperatorsAreAbsent(t)
		c.testCharts(t, "--set=podMonitor.enabled=false,prometheusRule.enabled=false", "everything")
	})
	c.kubectl(t, nil, "apply", "--server-side", "-f", filepath.Join(c.bin, "crds"))
	c.kubectl(t, nil, "wait", "--for=condition=Established", "crd", "--all", "--timeout=1m")
	t.Run("with the definitions of operators", func(t *testing.T) {
		c.testManifests(t, "podmonitor")
		c.testCharts(t, "--set=prometheusRule.enabled=true,dashboards.enabled=true", "")
		t.Run("chart in another", c.testParent)
	})
	t.Run("upgrades", func(t *testing.T) {
		for _, overlay := range overlays {
			t.Run(overlay, func(t *testing.T) { c.testUpgrade(t, overlay) })
		}
		t.Run("chart", c.testChartUpgrade)
	})
	t.Run("privileged pods are refused", c.testRestricted)
	t.Run("replicas do not share a node", c.testSpread)
	t.Run("drains", func(t *testing.T) { c.testDrains(t, k) })
}

var overlays = []string{"standalone", "sidecar", "leaf"}

// testManifests applies each overlay, alone or with a component.
func (c *cluster) testManifests(t *testing.T, component string) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			dir := filepath.Join(docker, "kubernetes/overlays", overlay)
			if component != "" {
				dir = withComponent(t, overlay, component)
			}
			namespace := c.makeNamespace(t, dir)
			c.kubectl(t, nil, "apply", "-k", dir, "--dry-run=server")
			c.kubectl(t, nil, "apply", "-k", dir)
			if out := c.kubectl(t, nil, "diff", "-k", dir); out != "" {
				t.Errorf("what was applied differs from what is there:\n%s", out)
			}
			for line := range strings.Lines(c.kubectl(t, nil, "apply", "-k", dir)) {
				// A budget's selector is replaced every time, which changes nothing.
				if !strings.HasSuffix(line, " unchanged\n") && !strings.HasPrefix(line, "poddisruptionbudget") {
					t.Errorf("applied a second time, %s", line)
				}
			}
			c.runs(t, namespace)
		})
	}
}

// makeNamespace makes the namespace of an overlay, without which the rest cannot be tried, and
// returns its name. It ends with the test.
func (c *cluster) makeNamespace(t *testing.T, dir string) string {
	t.Helper()
	for _, doc := range documents([]byte(c.kubectl(t, nil, "kustomize", dir))) {
		if o := parse(t, doc)[0]; o.Kind == "Namespace" {
			c.kubectl(t, doc, "apply", "-f", "-")
			c.deleted(t, o.Metadata.Name)
			return o.Metadata.Name
		}
	}
	t.Fatalf("%s has no namespace", dir)
	return ""
}

// deleted deletes a namespace at the end of the test, and waits until it is gone.
func (c *cluster) deleted(t *testing.T, namespace string) {
	t.Helper()
	t.Cleanup(func() {
		promtest.Until(t, patience, "the namespace "+namespace+" is gone", func() bool {
			status, answer, err := c.ask(context.Background(), http.MethodDelete, "/api/v1/namespaces/"+namespace, nil)
			if err != nil {
				t.Fatalf("%v: %s", err, answer)
			}
			return status == http.StatusNotFound
		})
	})
}

// runs waits until the Deployments of a namespace run, with all replicas ready: their pods
// were admitted, and found a node.
func (c *cluster) runs(t *testing.T, namespace string) {
	t.Helper()
	out := c.kubectl(t, nil, "-n", namespace, "rollout", "status", "deployment", "--timeout=2m")
	if !strings.Contains(out, "successfully rolled out") {
		t.Errorf("%s: %s", namespace, out)
	}
}

// testOperatorsAreAbsent: without the definitions, what needs them is refused by its name.
func (c *cluster) testOperatorsAreAbsent(t *testing.T) {
	dir := withComponent(t, "standalone", "podmonitor")
	if out, err := c.try(t, nil, "apply", "-k", dir, "--dry-run=server"); err == nil || !strings.Contains(out, `no matches for kind "PodMonitor"`) {
		t.Errorf("the component podmonitor: %v\n%s", err, out)
	}
	out, err := c.helm(t, "install", "cvfeeder", chart, variants()[0].args[0])
	if err == nil || !strings.Contains(out, `no matches for kind "PodMonitor"`) {
		t.Errorf("the chart with podMonitor.enabled: %v\n%s", err, out)
	}
}

// testCharts installs each variant of the chart but one, again without a change, and removes it.
func (c *cluster) testCharts(t *testing.T, set, but string) {
	for _, v := range variants() {
		if v.name == but {
			continue
		}
		t.Run("chart "+v.name, func(t *testing.T) {
			t.Parallel()
			namespace := "chart-" + v.name
			c.restrictedNamespace(t, namespace)
			args := append([]string{"cvfeeder", chart, "--namespace", namespace, set}, v.args...)
			slices.Reverse(args[4:]) // what is said last counts
			c.kubectl(t, helm(t, append([]string{"template"}, args...)...), "-n", namespace, "apply", "--dry-run=server", "-f", "-")
			for _, do := range []string{"install", "upgrade"} {
				if out, err := c.helm(t, append([]string{do}, args...)...); err != nil || strings.Contains(strings.ToLower(out), "warning") {
					t.Fatalf("helm %s: %v\n%s", do, err, out)
				}
				c.runs(t, namespace)
			}
			// A generation is a change of what is wanted; the autoscaler changes it, too.
			generations := c.kubectl(t, nil, "-n", namespace, "get", "deployments,poddisruptionbudgets,networkpolicies", "-o", "jsonpath={.items[*].metadata.generation}")
			if strings.Trim(generations, "1 ") != "" && !strings.HasPrefix(v.name, "hpa") {
				t.Errorf("the second time, something was changed: generations %s", generations)
			}
			if out, err := c.helm(t, "uninstall", "cvfeeder", "--namespace", namespace, "--wait"); err != nil {
				t.Errorf("helm uninstall: %v\n%s", err, out)
			}
			left := c.kubectl(t, nil, "-n", namespace, "get", "deployments,configmaps,secrets,serviceaccounts,poddisruptionbudgets,networkpolicies,horizontalpodautoscalers", "-o", "name")
			if want := "configmap/kube-root-ca.crt\nserviceaccount/default\n"; left != want {
				t.Errorf("after helm uninstall, there is %q, want %q", left, want)
			}
		})
	}
}

// testParent installs a chart that includes ours.
func (c *cluster) testParent(t *testing.T) {
	c.restrictedNamespace(t, "chart-parent")
	dir := parent(t)
	for _, do := range []string{"install", "upgrade"} {
		mode := map[string]string{"install": "sidecar", "upgrade": "leaf"}[do]
		out, err := c.helm(t, do, "vision", dir, "--namespace=chart-parent", "--set=cvfeeder.mode="+mode)
		if err != nil || strings.Contains(strings.ToLower(out), "warning") {
			t.Fatalf("helm %s: %v\n%s", do, err, out)
		}
		c.runs(t, "chart-parent")
	}
}

func (c *cluster) restrictedNamespace(t *testing.T, name string) {
	t.Helper()
	out, err := c.try(t, fmt.Appendf(nil, restricted, name), "apply", "-f", "-")
	if err != nil {
		t.Fatal(out)
	}
	c.deleted(t, name)
}

// testUpgrade applies an overlay over what it was at first, with a PodMonitor.
func (c *cluster) testUpgrade(t *testing.T, overlay string) {
	dir := withComponent(t, overlay, "podmonitor")
	namespace := c.makeNamespace(t, dir)
	c.kubectl(t, nil, "apply", "-f", filepath.Join("testdata/before", overlay+".golden"))
	c.runs(t, namespace)
	out := c.kubectl(t, nil, "apply", "-k", dir)
	if !regexp.MustCompile(`(?m)^deployment.apps/\w+ configured$`).MatchString(out) {
		t.Errorf("the Deployment was not changed:\n%s", out)
	}
	c.runs(t, namespace)
}

// testChartUpgrade changes everything of a release that may be changed, and goes back.
func (c *cluster) testChartUpgrade(t *testing.T) {
	c.restrictedNamespace(t, "chart-upgrade")
	bare, whole := variants()[6].args, variants()[0].args
	for _, step := range []struct {
		args []string
		want string
	}{
		{append([]string{"install"}, bare...), "ghcr.io/cvfeeder/cvfeeder:v0.1.0"},
		{append([]string{"upgrade", "--set=image.tag=v0.2.0,cores=4,config.streams[0].prefix=door-"}, whole...), "ghcr.io/cvfeeder/cvfeeder:v0.2.0"},
		{[]string{"rollback"}, "ghcr.io/cvfeeder/cvfeeder:v0.1.0"},
		{append([]string{"upgrade"}, variants()[4].args...), "ghcr.io/cvfeeder/cvfeeder:v0.1.0"},
	} {
		args := []string{step.args[0], "cvfeeder", "--namespace", "chart-upgrade"}
		if step.args[0] != "rollback" {
			args = append(args, chart)
		}
		if out, err := c.helm(t, append(args, step.args[1:]...)...); err != nil {
			t.Fatalf("helm %s: %v\n%s", step.args[0], err, out)
		}
		c.runs(t, "chart-upgrade")
		if got := c.kubectl(t, nil, "-n", "chart-upgrade", "get", "deployment", "cvfeeder", "-o", "jsonpath={.spec.replicas}"); got != "2" {
			t.Errorf("after helm %s, there are %s replicas", step.args[0], got)
		}
		for _, p := range c.pods(t, "chart-upgrade") {
			if got := p.Spec.Containers[0].Image; got != step.want && p.Metadata.DeletionTimestamp == "" {
				t.Errorf("after helm %s, a pod has the image %s, want %s", step.args[0], got, step.want)
			}
		}
	}
}

// pods returns the pods of a namespace, by name.
func (c *cluster) pods(t *testing.T, namespace string) []pod {
	t.Helper()
	var list struct{ Items []pod }
	c.must(t, http.MethodGet, "/api/v1/namespaces/"+namespace+"/pods", nil, &list)
	slices.SortFunc(list.Items, func(a, b pod) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	return list.Items
}

// testRestricted: the namespaces of the overlays refuse what is not restricted, so that the
// other tests show something.
func (c *cluster) testRestricted(t *testing.T) {
	for _, overlay := range overlays[:2] {
		namespace := c.makeNamespace(t, filepath.Join(docker, "kubernetes/overlays", overlay))
		status, answer, err := c.ask(t.Context(), http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods", map[string]any{
			"metadata": map[string]any{"name": "root"},
			"spec":     map[string]any{"containers": []map[string]any{{"name": "root", "image": "root"}}},
		})
		if err != nil || status != http.StatusForbidden || !bytes.Contains(answer, []byte(`violates PodSecurity \"restricted`)) {
			t.Errorf("%s: %v, %d: %s", namespace, err, status, answer)
		}
		out, err := c.try(t, nil, "-n", namespace, "create", "deployment", "root", "--image=root")
		if err == nil || !strings.Contains(out, "Warning: would violate PodSecurity") {
			t.Errorf("%s: a Deployment whose pods will be refused: %v\n%s", namespace, err, out)
		}
	}
}

// testSpread: with one node to be had, one of two replicas waits.
func (c *cluster) testSpread(t *testing.T) {
	c.kubectl(t, nil, "cordon", "node-2", "node-3")
	uncordon := func() { c.kubectl(t, nil, "uncordon", "node-1", "node-2", "node-3") }
	dir := filepath.Join(docker, "kubernetes/overlays/standalone")
	namespace := c.makeNamespace(t, dir)
	c.kubectl(t, nil, "apply", "-k", dir)
	promtest.Until(t, patience, "one replica waits for a node", func() bool {
		var list struct {
			Items []struct{ Reason, Message string }
		}
		c.must(t, http.MethodGet, "/api/v1/namespaces/"+namespace+"/events", nil, &list)
		for _, e := range list.Items {
			if e.Reason == "FailedScheduling" && strings.Contains(e.Message, "topology spread constraints") {
				return true
			}
		}
		return false
	})
	uncordon()
	c.runs(t, namespace)
}

// testDrains: nodes are drained one by one while all is well, and at once while nothing is
// ready, such as while NATS is away.
func (c *cluster) testDrains(t *testing.T, k *kubelet) {
	dir := filepath.Join(docker, "kubernetes/overlays/standalone")
	namespace := c.makeNamespace(t, dir)
	c.kubectl(t, nil, "apply", "-k", dir)
	c.runs(t, namespace)
	c.budget(t, namespace, 2, 1)

	// The replica that takes the place of the first is not ready yet: the second has to stay.
	k.newPodsReady(false)
	pods := c.pods(t, namespace)
	if status, answer := c.evict(t, pods[0]); status != http.StatusCreated {
		t.Fatalf("the first of two ready replicas: %d: %s", status, answer)
	}
	c.budget(t, namespace, 1, 0)
	if status, answer := c.evict(t, pods[1]); status != http.StatusTooManyRequests || !strings.Contains(answer, "disruption budget") {
		t.Fatalf("the only ready replica: %d, want %d: %s", status, http.StatusTooManyRequests, answer)
	}
	k.setReady(t, true)
	c.budget(t, namespace, 2, 1)
	if status, answer := c.evict(t, pods[1]); status != http.StatusCreated {
		t.Fatalf("one of two ready replicas: %d: %s", status, answer)
	}
	c.runs(t, namespace)

	// While none is ready, drains go on.
	k.setReady(t, false)
	c.budget(t, namespace, 0, 0)
	for _, p := range c.pods(t, namespace) {
		c.kubectl(t, nil, "drain", p.Spec.NodeName, "--delete-emptydir-data", "--timeout=30s")
	}
	c.kubectl(t, nil, "uncordon", "node-1", "node-2", "node-3")

	// They would not, with the policy that Kubernetes has by default.
	c.kubectl(t, nil, "-n", namespace, "patch", "poddisruptionbudget", "cvfeeder", "-p", `{"spec": {"unhealthyPodEvictionPolicy": "IfHealthyBudget"}}`)
	promtest.Until(t, patience, "unready pods of a budget that is used up are kept", func() bool {
		for _, p := range c.pods(t, namespace) {
			if p.Status.Phase == "Running" && p.Metadata.DeletionTimestamp == "" {
				status, _ := c.evict(t, p)
				return status == http.StatusTooManyRequests
			}
		}
		return false
	})
	k.setReady(t, true)
}

// budget waits until a disruption budget has so many healthy pods, and allows so many evictions.
func (c *cluster) budget(t *testing.T, namespace string, healthy, allowed int) {
	t.Helper()
	promtest.Until(t, patience, fmt.Sprintf("%d pods are healthy, and %d evictions allowed", healthy, allowed), func() bool {
		var pdb struct {
			Metadata struct{ Generation int64 }
			Status   struct {
				ObservedGeneration                 int64
				CurrentHealthy, DisruptionsAllowed int
				DisruptedPods                      map[string]json.RawMessage
			}
		}
		c.must(t, http.MethodGet, "/apis/policy/v1/namespaces/"+namespace+"/poddisruptionbudgets/cvfeeder", nil, &pdb)
		s := pdb.Status
		return s.ObservedGeneration == pdb.Metadata.Generation && s.CurrentHealthy == healthy && s.DisruptionsAllowed == allowed && len(s.DisruptedPods) == 0
	})
}

// evict asks for the eviction of a pod, as a drain does.
func (c *cluster) evict(t *testing.T, p pod) (status int, answer string) {
	t.Helper()
	status, text, err := c.ask(t.Context(), http.MethodPost, p.path()+"/eviction", map[string]any{
		"apiVersion": "policy/v1", "kind": "Eviction",
		"metadata": map[string]string{"name": p.Metadata.Name, "namespace": p.Metadata.Namespace},
	})
	if err != nil {
		t.Fatal(err)
	}
	return status, string(text)
}
