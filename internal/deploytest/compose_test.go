package deploytest

import (
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// project loads compose.yaml as Docker Compose does, which checks it and resolves it.
func project(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(docker, "compose.yaml")},
		cli.WithProfiles(profiles), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeFollowsItsSpecification(t *testing.T) {
	python := tool(t, "CVFEEDER_PYTHON")
	compose := filepath.Join(docker, "compose.yaml")
	command(t, nil, python, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", compose)
	checkConfig(t, "demo.yaml", read(t, "compose/demo.yaml"))
}

// TestComposeServices: each service may restart alone, is published to this machine only,
// and mounts what exists; Docker would create empty directories in its place.
func TestComposeServices(t *testing.T) {
	for _, profiles := range [][]string{nil, {"demo"}} {
		p := project(t, profiles...)
		if _, fake := p.Services["fake"]; fake != (profiles != nil) || len(p.Services) < 5 {
			t.Errorf("profiles %q: the services are %q", profiles, p.ServiceNames())
		}
		for name, s := range p.Services {
			// A container that has another's network keeps a dead one when the other restarts.
			if s.NetworkMode != "" {
				t.Errorf("%s: network_mode is %q", name, s.NetworkMode)
			}
			for _, port := range s.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("%s: port %s is published on %q", name, port.Published, port.HostIP)
				}
			}
			for _, v := range s.Volumes {
				if v.Type != types.VolumeTypeBind {
					continue
				}
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if s.Restart != types.RestartPolicyUnlessStopped {
				t.Errorf("%s: restart is %q", name, s.Restart)
			}
		}
	}
}

// TestComposeServicesFindEachOther: what a service is told of another one is a name of a
// service, and a port on which that one listens for all addresses.
func TestComposeServicesFindEachOther(t *testing.T) {
	p := project(t, "demo")
	listens := map[string]string{"cvfeeder": "9177", "fake": "9178", "nats": "4222", "nats-exporter": "7777", "prometheus": "9090"}
	for name, want := range map[string]string{"fake": "0.0.0.0:9178", "prometheus": "0.0.0.0:9090"} {
		if got := strings.Join(p.Services[name].Command, " "); !strings.Contains(got, want) {
			t.Errorf("%s: its command %q does not listen on %s", name, got, want)
		}
	}
	var scrapes struct {
		Configs []struct {
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(read(t, "compose/prometheus.yml"), &scrapes); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, c := range scrapes.Configs {
		for _, s := range c.Static {
			addresses = append(addresses, s.Targets...)
		}
	}
	for _, address := range []*string{p.Services["grafana"].Environment["PROMETHEUS_URL"], p.Services["consumer"].Environment["NATS_URL"]} {
		addresses = append(addresses, *address)
	}
	addresses = append(addresses, regexp.MustCompile(`\w+://\S+`).FindAllString(string(read(t, "compose/demo.yaml")), -1)...)
	if len(addresses) < 5 {
		t.Errorf("only the addresses %q were found", addresses)
	}
	for _, address := range addresses {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			address = u.Host
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil || listens[host] != port {
			t.Errorf("%s is no service that listens there: %v", address, slices.Sorted(maps.Keys(listens)))
		}
	}
}

// TestComposePrometheus: in Compose, Prometheus' config differs from the one on the same
// machine only in where things are.
func TestComposePrometheus(t *testing.T) {
	names := regexp.MustCompile(`"[a-z-]+:(\d+)"`)
	decode := func(name string, edit func(string) string) (config map[string]any) {
		if err := yaml.Unmarshal([]byte(edit(string(read(t, name)))), &config); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return config
	}
	want := decode("prometheus/prometheus.yml", func(s string) string { return s })
	got := decode("compose/prometheus.yml", func(s string) string {
		return names.ReplaceAllString(strings.ReplaceAll(s, "../prometheus/", ""), `"127.0.0.1:$1"`)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("prometheus.yml (-alone +in Compose):\n%s", diff)
	}
}
