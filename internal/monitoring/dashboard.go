package monitoring

import (
	"bytes"
	"encoding/json"
)

// A Dashboard is a Grafana dashboard, in the JSON model of Grafana 10 and later.
type Dashboard struct {
	// File is the name of its file in docker/grafana/dashboards.
	File string
	// UID identifies it in links.
	UID string
	// JSON is the content of the file.
	JSON []byte
}

// Dashboards returns the dashboards of cvfeeder: the fleet, and one stream.
func Dashboards() ([]Dashboard, error) {
	var all []Dashboard
	for _, d := range []dashboard{fleet(), stream()} {
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(d.model()); err != nil {
			return nil, err
		}
		all = append(all, Dashboard{File: d.file, UID: d.uid, JSON: text.Bytes()})
	}
	return all, nil
}

// An object is one in JSON.
type object = map[string]any

// A dashboard holds what differs between the dashboards.
type dashboard struct {
	file, uid, title, description string
	variables                     []object
	links                         []object
	rows                          []row
}

// A row is a heading and the panels below it.
type row struct {
	title  string
	panels []panel
}

const (
	// columns is the width of Grafana's grid.
	columns = 24
	// schemaVersion is that of Grafana 10.0. Later ones bring it up to theirs by themselves.
	schemaVersion = 38
)

func (d dashboard) model() object {
	var panels []object
	id, y := 0, 0
	for _, r := range d.rows {
		id++
		panels = append(panels, object{
			"id": id, "type": "row", "title": r.title, "collapsed": false, "panels": []any{},
			"gridPos": object{"x": 0, "y": y, "w": columns, "h": 1},
		})
		y++
		x, height := 0, 0
		for _, p := range r.panels {
			if x+p.width > columns {
				x, y, height = 0, y+height, 0
			}
			id++
			panels = append(panels, p.model(id, object{"x": x, "y": y, "w": p.width, "h": p.height}))
			x, height = x+p.width, max(height, p.height)
		}
		y += height
	}
	return object{
		"id": nil, "uid": d.uid, "title": d.title, "description": d.description, "tags": []string{"cvfeeder"},
		"editable": true, "graphTooltip": 1, "schemaVersion": schemaVersion, "version": 1, "timezone": "browser",
		"fiscalYearStartMonth": 0, "liveNow": false, "weekStart": "",
		"refresh": "30s", "time": object{"from": "now-1h", "to": "now"},
		"timepicker": object{"refresh_intervals": []string{"5s", "10s", "30s", "1m", "5m", "15m", "1h"}},
		"templating": object{"list": d.variables}, "links": d.links, "panels": panels,
		"annotations": object{"list": annotations()},
	}
}

// datasource is the Prometheus that the user has chosen.
func datasource() object { return object{"type": "prometheus", "uid": "${datasource}"} }

func datasourceVariable() object {
	return object{
		"name": "datasource", "label": "Data source", "description": "The Prometheus that scrapes cvfeeder.", "type": "datasource",
		"query": "prometheus", "current": object{}, "hide": 0, "includeAll": false, "multi": false, "options": []any{},
		"refresh": 1, "regex": "", "skipUrlSync": false,
	}
}

// queryVariable offers the values of a label.
func queryVariable(name, label, description, query string, many bool) object {
	v := object{
		"name": name, "label": label, "description": description, "type": "query", "datasource": datasource(),
		"definition": query, "query": object{"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
		"current": object{}, "hide": 0, "includeAll": many, "multi": many, "options": []any{},
		"refresh": 2, "regex": "", "skipUrlSync": false, "sort": 7,
	}
	if many {
		v["allValue"], v["current"] = ".*", object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}}
	}
	return v
}

func instanceVariable() object {
	return queryVariable("instance", "Instance", "The cvfeeder processes.", "label_values(cvfeeder_build_info, instance)", true)
}

func priceVariable() object {
	current := object{"selected": true, "text": "10", "value": "10"}
	return object{
		"name": "price", "label": "Price per million images", "type": "textbox", "hide": 0, "skipUrlSync": false,
		"description": "In US dollars. The pricing page of Kinesis Video Streams has the price for your region.",
		"query":       "10", "current": current, "options": []object{current},
	}
}
