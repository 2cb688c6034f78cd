package monitoring

// streamTable has a row of figures for each camera, worst first.
func streamTable() panel {
	const by = "by (instance, stream) "
	// Over the time range, there may be instances that have the stream no more.
	const owned = ` and on (instance, stream) cvfeeder_stream_owned`
	return panel{
		kind: "table", title: "Cameras", description: "The oldest first. Click a name to open the dashboard of that camera.", runbook: "CvfeederStreamStale",
		width: columns, height: 10, unit: "short", mode: "thresholds",
		custom: object{"align": "auto", "cellOptions": object{"type": "auto"}, "inspect": false, "filterable": true},
		queries: []query{
			{expr: `sum ` + by + `(cvfeeder_freshness_seconds{` + chosenStreams + `})`, legend: "freshness", table: true},
			{expr: gapShare(chosenStreams, by, whole) + owned, legend: "gaps", table: true},
			{expr: `sum ` + by + `(rate(cvfeeder_slots_total{` + chosenStreams + `, outcome="published"}` + zoom + `))`, legend: "frames", table: true},
			{expr: `sum ` + by + `(cvfeeder_slots_pending{` + chosenStreams + `})`, legend: "pending", table: true},
			{expr: throttled(chosenStreams), legend: "throttled", table: true},
			{expr: cost(chosenStreams, by, whole) + owned, legend: "cost", table: true},
		},
		options: object{
			"showHeader": true, "cellHeight": "sm",
			"sortBy": []object{{"displayName": "Freshness", "desc": true}},
		},
		transformations: []object{
			{"id": "merge", "options": object{}},
			{"id": "organize", "options": object{
				"excludeByName": object{"Time": true}, "includeByName": object{},
				"indexByName": object{"stream": 0, "instance": 1, "Value #A": 2, "Value #B": 3, "Value #C": 4, "Value #D": 5, "Value #E": 6, "Value #F": 7},
				"renameByName": object{
					"stream": "Stream", "instance": "Instance", "Value #A": "Freshness", "Value #B": "Without a tensor",
					"Value #C": "Frames per second", "Value #D": "Pending slots", "Value #E": "Throttled", "Value #F": "Cost per month",
				},
			}},
		},
		overrides: []object{
			{"matcher": object{"id": "byName", "options": "Stream"}, "properties": []object{{"id": "links", "value": []object{toStream("${__value.text}")}}}},
			column("Freshness", "s", 1, freshnessSteps), column("Without a tensor", "percentunit", 2, shareSteps(.01, .05)),
			column("Frames per second", "suffix:frames/s", 2, nil), column("Pending slots", "short", 0, nil),
			column("Throttled", "percentunit", 1, shareSteps(.01, .1)), column("Cost per month", "currencyUSD", 2, nil),
		},
	}
}

// column formats a column, with colors if there are thresholds.
func column(name, unit string, decimals int, steps []step) object {
	properties := []object{{"id": "unit", "value": unit}, {"id": "decimals", "value": decimals}}
	if steps != nil {
		properties = append(properties,
			object{"id": "thresholds", "value": thresholds(steps)},
			object{"id": "custom.cellOptions", "value": object{"type": "color-background", "mode": "basic"}})
	}
	return object{"matcher": object{"id": "byName", "options": name}, "properties": properties}
}
