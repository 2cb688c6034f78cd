package monitoring

import (
	"maps"
	"strings"
)

// A panel holds what differs between the panels.
type panel struct {
	kind               string // Grafana's panel type
	title, description string
	runbook            string // the heading in docs/runbook.md that says what to do
	width, height      int
	unit               string
	decimals           int // 0 leaves it to Grafana
	min, max           any // nil leaves it to the values, but a chart begins at 0
	noValue            string
	thresholds         []step
	mode               string // how colors are chosen; "" takes them from the palette
	queries            []query
	custom             object // of fieldConfig.defaults
	options            object
	overrides          []object
	transformations    []object
	links              []object
	mappings           []object
}

// A query is one of a panel's. Its legend is a Grafana template.
type query struct {
	expr, legend string
	table        bool // only the value at the end, as a row of a table
	instant      bool // only the value at the end
	heatmap      bool
	exemplars    bool
}

// fromValues lets a chart begin at its lowest value.
const fromValues = "auto"

// A step is a threshold: the color from a value on.
type step struct {
	from  any // nil for the first
	color string
}

func (p panel) model(id int, at object) object {
	defaults := object{
		"unit": p.unit, "custom": p.custom, "mappings": orEmpty(p.mappings), "links": orEmpty(p.links),
		"color": object{"mode": "palette-classic"}, "thresholds": thresholds(p.thresholds),
	}
	if p.mode != "" {
		defaults["color"] = object{"mode": p.mode}
	}
	for key, value := range map[string]any{"min": p.min, "max": p.max} {
		if value != nil {
			defaults[key] = value
		}
	}
	if p.decimals > 0 {
		defaults["decimals"] = p.decimals
	}
	if p.noValue != "" {
		defaults["noValue"] = p.noValue
	}
	var targets []object
	for i, q := range p.queries {
		targets = append(targets, q.model(string(rune('A'+i))))
	}
	m := object{
		"id": id, "type": p.kind, "title": p.title, "description": p.description, "gridPos": at, "datasource": datasource(),
		"links":       []object{toRunbook(p.runbook)},
		"fieldConfig": object{"defaults": defaults, "overrides": orEmpty(p.overrides)},
		"options":     p.options, "targets": targets,
	}
	if p.transformations != nil {
		m["transformations"] = p.transformations
	}
	return m
}

func (q query) model(ref string) object {
	format := "time_series"
	switch {
	case q.table:
		format = "table"
	case q.heatmap:
		format = "heatmap"
	}
	m := object{
		"refId": ref, "datasource": datasource(), "expr": q.expr, "legendFormat": q.legend, "format": format,
		"editorMode": "code", "instant": q.table || q.instant, "range": !q.table && !q.instant,
	}
	if q.exemplars {
		m["exemplar"] = true
	}
	return m
}

func orEmpty(list []object) []object {
	if list == nil {
		return []object{}
	}
	return list
}

func thresholds(steps []step) object {
	if steps == nil {
		steps = []step{{nil, "green"}}
	}
	list := make([]object, len(steps))
	for i, s := range steps {
		list[i] = object{"value": s.from, "color": s.color}
	}
	return object{"mode": "absolute", "steps": list}
}

// statWidth leaves room for the longest title and the two icons beside it.
const statWidth = 4

// stat returns a panel that shows one number, colored by its thresholds.
func stat(p panel) panel {
	p.kind, p.width, p.height, p.mode = "stat", statWidth, 4, "thresholds"
	p.custom = object{}
	p.options = object{
		"colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
		"wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
		"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		"text":          object{"valueSize": 32}, // the same for all, however long they are
	}
	return p
}

// chartHeight leaves half of it to the lines when the legend takes its third.
const chartHeight = 9

// chart returns a panel that shows lines over time.
func chart(p panel) panel {
	p.kind = "timeseries"
	if p.width == 0 {
		p.width = 8
	}
	p.height = chartHeight
	style := object{
		"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "gradientMode": "none", "lineInterpolation": "linear",
		"showPoints": "auto", "pointSize": 5, "spanNulls": false, "axisPlacement": "auto", "axisLabel": "", "axisColorMode": "text",
		"axisBorderShow": false, "axisCenteredZero": false, "barAlignment": 0, "insertNulls": false,
		"scaleDistribution": object{"type": "linear"}, "hideFrom": object{"legend": false, "tooltip": false, "viz": false},
		"stacking": object{"mode": "none", "group": "A"}, "thresholdsStyle": object{"mode": "off"},
	}
	if p.thresholds != nil {
		style["thresholdsStyle"] = object{"mode": "dashed"}
	}
	maps.Copy(style, p.custom)
	p.custom = style
	switch p.min {
	case nil:
		p.min = 0
	case fromValues:
		p.min = nil
	}
	p.options = object{
		"legend":  object{"showLegend": true, "displayMode": "table", "placement": "bottom", "calcs": legendFigures(p.width), "sortBy": "Max", "sortDesc": true},
		"tooltip": object{"mode": "multi", "sort": "desc", "maxHeight": 600},
	}
	return p
}

// legendFigures returns the columns of a legend. A third of the page has room for a name and
// two of them.
func legendFigures(width int) []string {
	if width < columns/2 {
		return []string{"max", "lastNotNull"}
	}
	return []string{"mean", "max", "lastNotNull"}
}

// bands returns a panel with a band over time for each series, colored by its value.
func bands(p panel) panel {
	p.kind, p.width, p.mode = "state-timeline", columns, "thresholds"
	p.custom = object{
		"fillOpacity": 80, "lineWidth": 0, "axisPlacement": "auto",
		"hideFrom": object{"legend": false, "tooltip": false, "viz": false},
	}
	p.options = object{
		"alignValue": "left", "mergeValues": true, "rowHeight": 0.8, "showValue": "never",
		"legend":  object{"showLegend": false, "displayMode": "list", "placement": "bottom"},
		"tooltip": object{"mode": "single", "sort": "none", "maxHeight": 600},
	}
	return p
}

// usuallyZero is the style of charts whose lines are at 0 while all is well: Grafana would
// make their axes end at 100.
func usuallyZero() object { return object{"axisSoftMax": 1} }

// stacked returns a chart of areas on top of each other, for the parts of a whole.
func stacked(p panel) panel {
	p.custom = object{"stacking": object{"mode": "normal", "group": "A"}, "fillOpacity": 60, "lineWidth": 0}
	return chart(p)
}

// colored gives the series of a name a fixed color.
func colored(name, color string) object {
	return object{
		"matcher":    object{"id": "byName", "options": name},
		"properties": []object{{"id": "color", "value": object{"mode": "fixed", "fixedColor": color}}},
	}
}

// outcomeColors are the colors of the outcomes, the same in every panel.
func outcomeColors() []object {
	return []object{
		colored("published", "green"), colored("unwatched", "gray"), colored("unchanged", "light-green"), colored("skipped", "light-blue"), colored("no_media", "orange"), colored("media_error", "purple"),
		colored("undecodable", "red"), colored("stale", "yellow"), colored("dropped", "blue"),
	}
}

// toRunbook links a panel to what to do about what it shows.
func toRunbook(heading string) object {
	anchor := strings.ReplaceAll(strings.ToLower(heading), " ", "-")
	return object{
		"title": "Runbook: " + heading, "targetBlank": true,
		"url": "https://github.com/cvfeeder/cvfeeder/blob/main/docs/runbook.md#" + anchor,
	}
}

// toStream links a series to the dashboard of its stream.
func toStream(name string) object {
	return object{
		"title": "Stream " + name, "targetBlank": false,
		"url": "/d/" + streamUID + "?var-stream=" + name + "&${datasource:queryparam}&${instance:queryparam}&${price:queryparam}&${__url_time_range}",
	}
}
