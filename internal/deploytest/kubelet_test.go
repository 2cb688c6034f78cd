//go:build linux

package deploytest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// A kubelet stands in for the nodes: pods that the scheduler places run at once, without
// containers, and pods that are to stop are gone at once. Which ones are ready, the test says.
type kubelet struct {
	c *cluster

	mu    sync.Mutex
	ready bool
	pods  map[string]pod // by path
}

// A pod is a Kubernetes pod, with only the fields that are needed here.
type pod struct {
	Metadata struct {
		Name              string            `json:"name"`
		Namespace         string            `json:"namespace"`
		Labels            map[string]string `json:"labels"`
		DeletionTimestamp string            `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		NodeName       string      `json:"nodeName"`
		InitContainers []container `json:"initContainers"`
		Containers     []container `json:"containers"`
	} `json:"spec"`
	Status struct {
		Phase      string `json:"phase"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

func (p pod) path() string {
	return "/api/v1/namespaces/" + p.Metadata.Namespace + "/pods/" + p.Metadata.Name
}

// startKubelet makes nodes, in as many zones, and runs their pods until the test ends.
func startKubelet(t *testing.T, c *cluster, nodes int) *kubelet {
	t.Helper()
	k := &kubelet{c: c, ready: true, pods: map[string]pod{}}
	for i := range nodes {
		name := fmt.Sprintf("node-%d", i+1)
		room := map[string]string{"cpu": "8", "memory": "16Gi", "pods": "100", "ephemeral-storage": "100Gi"}
		node := map[string]any{
			"metadata": map[string]any{"name": name, "labels": map[string]string{"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "topology.kubernetes.io/zone": name}},
			"status": map[string]any{
				"capacity": room, "allocatable": room,
				"conditions": []map[string]string{{"type": "Ready", "status": "True"}},
			},
		}
		c.must(t, http.MethodPost, "/api/v1/nodes", node, nil)
		// A new node cannot be used until a controller has seen that it is ready.
		c.must(t, http.MethodPatch, "/api/v1/nodes/"+name, map[string]any{"spec": map[string]any{"taints": nil}}, nil)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.watch(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the nodes: %v", err)
		}
	})
	return k
}

// watch follows all pods, and starts again when the server ends a watch.
func (k *kubelet) watch(ctx context.Context) error {
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.c.url+"/api/v1/pods?watch=1", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := k.c.http.Do(req)
		if err != nil {
			break
		}
		for dec := json.NewDecoder(resp.Body); ; {
			var event struct {
				Type   string
				Object pod
			}
			if err := dec.Decode(&event); err != nil {
				break
			}
			if err := k.see(ctx, event.Type, event.Object); err != nil && ctx.Err() == nil {
				return err
			}
		}
		_ = resp.Body.Close()
	}
	if ctx.Err() == nil {
		return fmt.Errorf("the API server is gone")
	}
	return nil
}

func (k *kubelet) see(ctx context.Context, event string, p pod) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if event == "DELETED" {
		delete(k.pods, p.path())
		return nil
	}
	_, known := k.pods[p.path()]
	k.pods[p.path()] = p
	switch {
	case p.Spec.NodeName == "":
		return nil
	case p.Metadata.DeletionTimestamp != "":
		_, _, err := k.c.ask(ctx, http.MethodDelete, p.path()+"?gracePeriodSeconds=0", nil)
		return err
	case !known || p.Status.Phase == "Pending":
		return k.tell(ctx, p)
	}
	return nil
}

// tell tells the API server how a pod is.
func (k *kubelet) tell(ctx context.Context, p pod) error {
	status := map[bool]string{true: "True", false: "False"}[k.ready]
	running := func(all []container) []any {
		states := []any{}
		for _, c := range all {
			now := map[string]any{"startedAt": time.Now().UTC().Format(time.RFC3339)}
			states = append(states, map[string]any{
				"name": c.Name, "image": c.Image, "imageID": "", "restartCount": 0, "ready": k.ready, "started": true,
				"state": map[string]any{"running": now},
			})
		}
		return states
	}
	body := map[string]any{"status": map[string]any{
		"phase": "Running",
		"conditions": []map[string]string{
			{"type": "Initialized", "status": "True"}, {"type": "ContainersReady", "status": status}, {"type": "Ready", "status": status},
		},
		"initContainerStatuses": running(p.Spec.InitContainers),
		"containerStatuses":     running(p.Spec.Containers),
	}}
	code, answer, err := k.c.ask(ctx, http.MethodPatch, p.path()+"/status", body)
	if err == nil && code >= 300 && code != http.StatusNotFound && code != http.StatusConflict {
		err = fmt.Errorf("the status of %s: %s", p.Metadata.Name, answer)
	}
	return err
}

// setReady says whether the pods that run, and those that begin later, are ready.
func (k *kubelet) setReady(t *testing.T, ready bool) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready = ready
	for _, p := range k.pods {
		if p.Spec.NodeName != "" {
			if err := k.tell(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// newPodsReady says whether pods that begin later are ready.
func (k *kubelet) newPodsReady(ready bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready = ready
}
