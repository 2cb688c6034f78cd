package look_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/monitoring"
)

// A grafana is a version of Grafana, as the modules in page/package.json have its types.
type grafana struct {
	module, dashboard string
	// Exact rejects fields that this version does not have, which Grafana ignores.
	exact bool
}

var grafanas = []grafana{
	{module: "grafana-schema-10", dashboard: "dist/esm/raw/dashboard/x/dashboard_types.gen"},
	{module: "grafana-schema-12", dashboard: "dist/types/raw/dashboard/x/types.gen", exact: true},
}

// kinds are the files and names of the types of panels.
var kinds = map[string]string{"stat": "Stat", "timeseries": "TimeSeries", "table": "Table", "heatmap": "Heatmap", "state-timeline": "StateTimeline"}

// plain makes types of JSON of those of TypeScript: enums are their values, and everything
// has a default.
const plain = "type Plain<T> = 0 extends 1 & T ? any : T extends string ? `${T}` : T extends number ? number : T extends boolean | null | undefined ? T" +
	" : T extends readonly (infer U)[] ? readonly Plain<U>[] : T extends object ? { readonly [K in keyof T]?: Plain<T[K]> } : T;\n"

// TestTypes has TypeScript compare the dashboards with the types of the oldest and the newest
// Grafana that they are for.
func TestTypes(t *testing.T) {
	if *out == "" {
		t.Skip("make dashboards-look installs the types")
	}
	dir, err := filepath.Abs(*out)
	if err != nil {
		t.Fatal(err)
	}
	all, err := monitoring.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range grafanas {
		for _, d := range all {
			if said := compile(t, dir, g, d.JSON); said != "" {
				t.Errorf("%s, %s:\n%s", g.module, d.File, said)
			}
		}
	}
	// It finds what is wrong in a broken one.
	broken := strings.NewReplacer(`"colorMode": "value"`, `"colorMode": "rainbow"`, `"showLegend": `, `"showLegned": `, `"refresh": "30s"`, `"refresh": 30`).
		Replace(string(all[0].JSON))
	said := compile(t, dir, grafanas[1], []byte(broken))
	for _, want := range []string{"rainbow", "showLegned", "'number' is not assignable to type 'string'"} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing is said of %q:\n%s", want, said)
		}
	}
}

// compile returns what the compiler says of a dashboard.
func compile(t *testing.T, dir string, g grafana, dashboard []byte) string {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal(dashboard, &d); err != nil {
		t.Fatal(err)
	}
	panels, _ := d["panels"].([]any)
	delete(d, "panels")
	withoutBeyond(d)
	var program strings.Builder
	program.WriteString(plain)
	fmt.Fprintf(&program, "import type * as dashboard from './node_modules/%s/%s';\n", g.module, g.dashboard)
	for kind, name := range kinds {
		fmt.Fprintf(&program, "import type * as %s from './node_modules/%s/dist/esm/raw/composable/%s/panelcfg/x/%sPanelCfg_types.gen';\n",
			name, g.module, strings.ReplaceAll(kind, "-", ""), name)
	}
	values := 0
	check := func(of string, value any) {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		values++
		if g.exact {
			fmt.Fprintf(&program, "export const v%d: Plain<%s> = %s;\n", values, of, text)
			return
		}
		fmt.Fprintf(&program, "const v%d = %s as const; export const w%[1]d: Plain<%[3]s> = v%[1]d;\n", values, text, of)
	}
	check("dashboard.Dashboard", d)
	for _, each := range panels {
		p, _ := each.(map[string]any)
		kind, _ := p["type"].(string)
		if kind == "row" {
			check("dashboard.RowPanel", p)
			continue
		}
		check(kinds[kind]+".Options", p["options"])
		delete(p, "options")
		check("dashboard.Panel", p)
	}
	file := filepath.Join(dir, "types.ts")
	if err := os.WriteFile(file, []byte(program.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "node_modules", ".bin", "tsc"),
		"--noEmit", "--skipLibCheck", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", file)
	text, err := cmd.CombinedOutput()
	if err != nil && len(text) == 0 {
		t.Fatal(err)
	}
	return string(text)
}

// withoutBeyond removes what Grafana reads and its types do not have: the fields of an
// annotation by Prometheus, and the text of a query as the list of variables shows it.
func withoutBeyond(d map[string]any) {
	for path, fields := range map[string][]string{
		"annotations": {"expr", "step", "tagKeys", "textFormat", "titleFormat", "useValueForTime"},
		"templating":  {"definition"},
	} {
		parent, _ := d[path].(map[string]any)
		list, _ := parent["list"].([]any)
		for _, item := range list {
			for _, field := range fields {
				delete(item.(map[string]any), field)
			}
		}
	}
}
