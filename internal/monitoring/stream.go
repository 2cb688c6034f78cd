package monitoring

// this selects the series of the stream that the user has chosen.
const chosenStream = `instance=~"$instance", stream="$stream"`

// stream is the dashboard of one camera.
func stream() dashboard {
	return dashboard{
		file: "stream.json", uid: streamUID, title: "cvfeeder: Stream",
		description: "One camera: when it had gaps and why, how old its tensors are, and what cvfeeder has learned about it.",
		variables: []object{
			datasourceVariable(), instanceVariable(),
			queryVariable("stream", "Stream", "The camera.", `label_values(cvfeeder_stream_owned{instance=~"$instance"}, stream)`, false),
			priceVariable(),
		},
		links: []object{{
			"title": "Fleet", "type": "link", "icon": "dashboard", "tooltip": "All cameras", "asDropdown": false, "tags": []string{},
			"targetBlank": false, "keepTime": true, "includeVars": false, "url": "/d/" + fleetUID + "?${datasource:queryparam}&${instance:queryparam}&${price:queryparam}",
		}},
		rows: []row{
			{"Now", streamNow()},
			{"Gaps", []panel{gapTimeline(), outcomesOfStream(), freshnessOfStream()}},
			{"Kinesis", streamKinesis()},
		},
	}
}

func streamNow() []panel {
	return []panel{
		stat(panel{
			title: "Freshness", description: "Age of the newest tensor.", unit: "s", decimals: 1, thresholds: freshnessSteps,
			queries: []query{{expr: `min(cvfeeder_freshness_seconds{` + chosenStream + `})`, legend: "freshness"}},
		}),
		stat(panel{
			title: "Slots without a tensor", description: "Share of the slots in the time range that ended without a tensor. The alert fires at 5%.",
			unit: "percentunit", decimals: 2, thresholds: shareSteps(.01, .05),
			queries: []query{{
				expr:   `sum(rate(cvfeeder_slots_total{` + chosenStream + `, outcome!~"published|unwatched"}[$__range])) / sum(rate(cvfeeder_slots_total{` + chosenStream + `}[$__range]))`,
				legend: "share", instant: true,
			}},
		}),
		stat(panel{
			title: "Gaps", description: "Number of gaps in the time range.", unit: "short", thresholds: []step{{nil, "green"}, {1, "orange"}},
			queries: []query{{expr: `ceil(sum(increase(cvfeeder_gaps_total{` + chosenStream + `}[$__range])))`, legend: "gaps", instant: true}},
		}),
		stat(panel{
			title: "Time in gaps", description: "Total length of the gaps in the time range.", unit: "s", decimals: 1, thresholds: []step{{nil, "green"}, {1, "orange"}},
			queries: []query{{expr: `sum(increase(cvfeeder_gap_seconds_total{` + chosenStream + `}[$__range]))`, legend: "time", instant: true}},
		}),
		stat(panel{
			title: "Frames per second", description: "Slots that are published.", unit: "suffix:frames/s", decimals: 2, thresholds: []step{{nil, "blue"}},
			queries: []query{{expr: `sum(rate(cvfeeder_slots_total{` + chosenStream + `, outcome="published"}[$__rate_interval]))`, legend: "published"}},
		}),
		stat(panel{
			title: "Throttled", description: "Share of the GetImages requests that Kinesis refuses because of the quota. The alert fires at 10%.",
			unit: "percentunit", decimals: 1, thresholds: shareSteps(.01, .1),
			queries: []query{{expr: throttled(chosenStream, ""), legend: "throttled"}},
		}),
		stat(panel{
			title: "Read by", description: "Instances that read the stream. It is one, except while the stream moves, or if two read it by mistake.", unit: "short",
			thresholds: []step{{nil, "red"}, {1, "green"}, {2, "orange"}},
			queries:    []query{{expr: `count(cvfeeder_stream_owned{` + chosenStream + `} == 1) or vector(0)`, legend: "instances"}},
		}),
		stat(panel{
			title: "Cost per month", description: "Cost of a month with as many images as were requested in the time range, at the price above. AWS bills the images that it generates, which may be fewer.",
			unit: "currencyUSD", decimals: 2, thresholds: []step{{nil, "blue"}},
			queries: []query{{expr: `sum(rate(cvfeeder_images_requested_total{` + chosenStream + `}[$__range])) * ` + month + ` * $price / 1e6`, legend: "per month", instant: true}},
		}),
	}
}

// gapTimeline shows when there were gaps, with one band for each reason.
func gapTimeline() panel {
	return panel{
		kind: "state-timeline", title: "Gap timeline", description: "When slots ended without a tensor, and why. Orange means some of the slots, red most of them.",
		width: columns, height: 8, unit: "percentunit", mode: "thresholds", min: 0, max: 1,
		thresholds: []step{{nil, "transparent"}, {1e-9, "orange"}, {.5, "red"}},
		custom: object{
			"fillOpacity": 80, "lineWidth": 0, "axisPlacement": "auto",
			"hideFrom": object{"legend": false, "tooltip": false, "viz": false},
		},
		queries: []query{{
			expr: `clamp_max(sum by (reason) (rate(cvfeeder_gap_seconds_total{` + chosenStream + `}[$__rate_interval])), 1)`, legend: "{{reason}}",
		}},
		options: object{
			"alignValue": "left", "mergeValues": true, "rowHeight": 0.8, "showValue": "never",
			"legend":  object{"showLegend": true, "displayMode": "list", "placement": "bottom"},
			"tooltip": object{"mode": "single", "sort": "none", "maxHeight": 600},
		},
	}
}

func outcomesOfStream() panel {
	return stacked(panel{
		title: "Outcomes", description: "How slots ended: published, or without a tensor, by reason.", unit: "suffix:slots/s", width: 12,
		queries:   []query{{expr: `sum by (outcome) (rate(cvfeeder_slots_total{` + chosenStream + `}[$__rate_interval]))`, legend: "{{outcome}}"}},
		overrides: outcomeColors(),
	})
}

func freshnessOfStream() panel {
	return chart(panel{
		title: "Freshness", description: "Age of the newest tensor. The usual value is the length of a fragment plus some seconds. The alert fires at a minute.", unit: "s", width: 12,
		thresholds: []step{{nil, "transparent"}, {60, "red"}},
		queries:    []query{{expr: `cvfeeder_freshness_seconds{` + chosenStream + `}`, legend: "{{instance}}"}},
	})
}

func streamKinesis() []panel {
	return []panel{
		chart(panel{
			title: "Lag and overlap", description: "How far behind now the stream is read, and how far before the first wanted slot a window starts; learned unless configured.", unit: "s", width: 6,
			queries: []query{
				{expr: `cvfeeder_lag_seconds{` + chosenStream + `}`, legend: "lag"},
				{expr: `cvfeeder_overlap_seconds{` + chosenStream + `}`, legend: "overlap"},
			},
		}),
		chart(panel{
			title: "Pending slots", description: "Slots that have not ended yet. Their number grows when media is late, requests fail, or NATS accepts nothing.", unit: "short", width: 6,
			queries: []query{{expr: `cvfeeder_slots_pending{` + chosenStream + `}`, legend: "{{instance}}"}},
		}),
		chart(panel{
			title: "GetImages requests", description: "By the service's answer. ClientLimitExceededException means throttling, error no answer at all.", unit: "reqps", width: 6,
			queries: []query{{expr: `sum by (code) (rate(cvfeeder_getimages_requests_total{` + chosenStream + `}[$__rate_interval]))`, legend: "{{code}}"}},
		}),
		chart(panel{
			title: "Images requested per frame", description: "Images requested for each published frame. The minimum is 1; retries, overlap and NO_MEDIA add to it.", unit: "short", width: 6,
			queries: []query{{
				expr: `sum(rate(cvfeeder_images_requested_total{` + chosenStream + `}[$__rate_interval])) / (sum(rate(cvfeeder_slots_total{` + chosenStream +
					`, outcome="published"}[$__rate_interval])) > 0)`,
				legend: "images",
			}},
		}),
	}
}
