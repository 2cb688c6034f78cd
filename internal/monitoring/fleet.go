package monitoring

const (
	fleetUID  = "cvfeeder-fleet"
	streamUID = "cvfeeder-stream"
	// month is 30 days in seconds.
	month = "2592000"
	// chosenStreams selects the series of the streams that the user has chosen.
	chosenStreams = `instance=~"$instance", stream=~"$stream"`
)

// freshnessSteps are the ages from which a stream is late, and stale as in the alerts.
var freshnessSteps = []step{{nil, "green"}, {20, "orange"}, {60, "red"}}

func shareSteps(warn, bad float64) []step {
	return []step{{nil, "green"}, {warn, "orange"}, {bad, "red"}}
}

// withGaps selects the streams that had a gap lately.
const withGaps = `sum by (instance, stream) (increase(cvfeeder_gap_seconds_total{` + chosenStreams + `}[$__rate_interval])) > 0`

// fleet is the dashboard of all streams, worst first.
func fleet() dashboard {
	return dashboard{
		file: "fleet.json", uid: fleetUID, title: "cvfeeder: Fleet",
		description: "All cameras: which ones have gaps or are stale and why, how old their tensors are, and what they cost.",
		variables: []object{
			datasourceVariable(), instanceVariable(),
			queryVariable("stream", "Stream", "The cameras to show.", `label_values(cvfeeder_stream_owned{instance=~"$instance"}, stream)`, true),
			priceVariable(),
		},
		links: []object{{
			"title": "Stream", "type": "link", "icon": "dashboard", "tooltip": "One camera", "asDropdown": false, "tags": []string{},
			"targetBlank": false, "keepTime": true, "includeVars": false, "url": "/d/" + streamUID + "?${datasource:queryparam}&${instance:queryparam}&${price:queryparam}",
		}},
		rows: []row{
			{"Now", fleetNow()},
			{"Cameras", []panel{streamsByState(), gapsByReason(), freshnessOfFleet(), streamTable()}},
			{"Throughput", fleetThroughput()},
			{"Kinesis", fleetKinesis()},
			{"Machines and NATS", fleetMachines()},
		},
	}
}

func fleetNow() []panel {
	return []panel{
		stat(panel{
			title: "Streams", description: "Cameras that are being read.", unit: "short", thresholds: []step{{nil, "blue"}},
			queries: []query{{expr: `count(cvfeeder_stream_owned{` + chosenStreams + `} == 1)`, legend: "streams"}},
		}),
		stat(panel{
			title: "Stale", description: "Cameras whose newest tensor is older than a minute.", unit: "short", thresholds: shareSteps(1, 1)[:2],
			queries: []query{{expr: `count(cvfeeder_freshness_seconds{` + chosenStreams + `} > 60) or vector(0)`, legend: "stale"}},
		}),
		stat(panel{
			title: "With gaps", description: "Cameras with slots that have just ended without a tensor.", unit: "short", thresholds: []step{{nil, "green"}, {1, "orange"}},
			queries: []query{{expr: `count(` + withGaps + `) or vector(0)`, legend: "with gaps"}},
		}),
		stat(panel{
			title: "Slots without a tensor", description: "Share of the slots in the time range that ended without a tensor. The alert fires at 5%.",
			unit: "percentunit", decimals: 2, thresholds: shareSteps(.01, .05),
			queries: []query{{expr: gapShare("", "$__range"), legend: "share", instant: true}},
		}),
		stat(panel{
			title: "Oldest camera", description: "Age of the newest tensor of the camera that is furthest behind.", unit: "s", decimals: 1, thresholds: freshnessSteps,
			queries: []query{{expr: `max(cvfeeder_freshness_seconds{` + chosenStreams + `})`, legend: "freshness"}},
		}),
		stat(panel{
			title: "NATS down", description: "Connections to NATS that are down.", unit: "short", thresholds: []step{{nil, "green"}, {1, "red"}},
			queries: []query{{expr: `count(cvfeeder_nats_connected{instance=~"$instance"} == 0) or vector(0)`, legend: "down"}},
		}),
		stat(panel{
			title: "Throttled", description: "Share of the GetImages requests that Kinesis refuses because of the quota. The alert fires at 10% for one stream.",
			unit: "percentunit", decimals: 1, thresholds: shareSteps(.01, .1),
			queries: []query{{expr: throttled(chosenStreams, ""), legend: "throttled"}},
		}),
		stat(panel{
			title: "Cost per month", description: "Cost of a month with as many images as were requested in the time range, at the price above. AWS bills the images that it generates, which may be fewer.",
			unit: "currencyUSD", decimals: 2, thresholds: []step{{nil, "blue"}},
			queries: []query{{expr: `sum(rate(cvfeeder_images_requested_total{` + chosenStreams + `}[$__range])) * ` + month + ` * $price / 1e6`, legend: "per month", instant: true}},
		}),
	}
}

// gapShare is the query for the share of slots that ended without a tensor.
func gapShare(by, over string) string {
	return `sum ` + by + `(rate(cvfeeder_slots_total{` + chosenStreams + `, outcome!~"published|unwatched"}[` + over + `])) / sum ` + by + `(rate(cvfeeder_slots_total{` + chosenStreams + `}[` + over + `]))`
}

// throttled is the query for the share of requests that were throttled.
func throttled(series, by string) string {
	return `sum ` + by + `(rate(cvfeeder_getimages_requests_total{` + series + `, code=~"ClientLimitExceededException|ThrottlingException"}[$__rate_interval])) / sum ` +
		by + `(rate(cvfeeder_getimages_requests_total{` + series + `}[$__rate_interval]))`
}

func streamsByState() panel {
	return stacked(panel{
		title: "Streams by state", description: "Stale: no tensor for a minute. With gaps: not stale, but some slots have just ended without a tensor.", unit: "short",
		queries: []query{
			{expr: `count(cvfeeder_freshness_seconds{` + chosenStreams + `} > 60) or vector(0)`, legend: "stale"},
			{expr: `count((` + withGaps + `) unless on (instance, stream) cvfeeder_freshness_seconds > 60) or vector(0)`, legend: "with gaps"},
			{expr: `count(cvfeeder_freshness_seconds{` + chosenStreams + `} <= 60 unless on (instance, stream) (` + withGaps + `)) or vector(0)`, legend: "fresh"},
		},
		overrides: []object{colored("stale", "red"), colored("with gaps", "orange"), colored("fresh", "green")},
	})
}

func gapsByReason() panel {
	return stacked(panel{
		title: "Gaps by reason", description: "Seconds without a tensor per second, of all cameras together: 1 means one camera all the time.", unit: "none",
		queries:   []query{{expr: `sum by (reason) (rate(cvfeeder_gap_seconds_total{` + chosenStreams + `}[$__rate_interval]))`, legend: "{{reason}}"}},
		overrides: outcomeColors(),
	})
}

func freshnessOfFleet() panel {
	return chart(panel{
		title: "Freshness", description: "Age of the newest tensor of each camera. The usual value is the length of a fragment plus some seconds. The alert fires at a minute.", unit: "s",
		thresholds: []step{{nil, "transparent"}, {60, "red"}},
		queries: []query{
			{expr: `quantile(0.5, cvfeeder_freshness_seconds{` + chosenStreams + `})`, legend: "median"},
			{expr: `quantile(0.95, cvfeeder_freshness_seconds{` + chosenStreams + `})`, legend: "95%"},
			{expr: `quantile(0.99, cvfeeder_freshness_seconds{` + chosenStreams + `})`, legend: "99%"},
			{expr: `max(cvfeeder_freshness_seconds{` + chosenStreams + `})`, legend: "oldest"},
		},
	})
}

func fleetThroughput() []panel {
	return []panel{
		chart(panel{
			title: "Frames per second", description: "Slots that are due, and those that are published.", unit: "suffix:frames/s", width: 6,
			queries: []query{
				{expr: `sum(rate(cvfeeder_slots_expected_total{` + chosenStreams + `}[$__rate_interval]))`, legend: "due"},
				{expr: `sum(rate(cvfeeder_slots_total{` + chosenStreams + `, outcome="published"}[$__rate_interval]))`, legend: "published"},
			},
		}),
		chart(panel{
			title: "Bytes per second", description: "Delivered to NATS, by output.", unit: "Bps", width: 6,
			queries: []query{{expr: `sum by (output) (rate(cvfeeder_publish_bytes_total{instance=~"$instance"}[$__rate_interval]))`, legend: "{{output}}"}},
		}),
		latencyHeatmap(),
		chart(panel{
			title: "Latency", description: "From a slot's instant to the delivery of its tensor, by output. Points are traced frames.", unit: "s", width: 6,
			queries: []query{
				{expr: quantile("0.5", "cvfeeder_latency_seconds", "output"), legend: "{{output}} median", exemplars: true},
				{expr: quantile("0.99", "cvfeeder_latency_seconds", "output"), legend: "{{output}} 99%"},
			},
		}),
	}
}

// quantile is the query for a quantile of a histogram, native or classic.
func quantile(q, metric, by string) string {
	const series = `{instance=~"$instance"}[$__rate_interval])))`
	return `histogram_quantile(` + q + `, sum by (` + by + `) (rate(` + metric + series + ` or histogram_quantile(` + q + `, sum by (` + by + `, le) (rate(` + metric + `_bucket` + series
}

func latencyHeatmap() panel {
	return panel{
		kind: "heatmap", title: "Latency of all frames", description: "From a slot's instant to the delivery of its tensor. The brighter, the more frames.",
		width: 6, height: 8, unit: "s", custom: object{"hideFrom": object{"legend": false, "tooltip": false, "viz": false}, "scaleDistribution": object{"type": "linear"}},
		queries: []query{{
			expr: `sum(rate(cvfeeder_latency_seconds{instance=~"$instance"}[$__rate_interval])) or on () ` +
				`sum by (le) (rate(cvfeeder_latency_seconds_bucket{instance=~"$instance"}[$__rate_interval]))`,
			legend: "{{le}}", heatmap: true,
		}},
		options: object{
			"calculate": false, "cellGap": 1, "cellValues": object{"unit": "suffix:frames/s"}, "exemplars": object{"color": "rgba(255,0,255,0.7)"},
			"color":        object{"mode": "scheme", "scheme": "Turbo", "steps": 64, "fill": "dark-orange", "exponent": 0.5, "scale": "exponential", "reverse": false},
			"filterValues": object{"le": 1e-9}, "legend": object{"show": true}, "rowsFrame": object{"layout": "auto"}, "showValue": "never",
			"tooltip": object{"mode": "single", "showColorScale": true, "yHistogram": true},
			"yAxis":   object{"axisPlacement": "left", "reverse": false, "unit": "s"},
		},
	}
}

func fleetKinesis() []panel {
	return []panel{
		chart(panel{
			title: "GetImages requests", description: "By the service's answer. ClientLimitExceededException means throttling, error no answer at all.", unit: "reqps",
			queries: []query{{expr: `sum by (code) (rate(cvfeeder_getimages_requests_total{` + chosenStreams + `}[$__rate_interval]))`, legend: "{{code}}"}},
		}),
		chart(panel{
			title: "Throttled streams", description: "The ten cameras with the largest share of requests that Kinesis refuses because of the quota.", unit: "percentunit",
			thresholds: []step{{nil, "transparent"}, {.1, "red"}},
			queries:    []query{{expr: `topk(10, ` + throttled(chosenStreams, "by (stream) ") + `)`, legend: "{{stream}}"}},
			links:      []object{toStream("${__field.labels.stream}")},
		}),
		chart(panel{
			title: "Cost per month", description: "Cost of a month with as many images as are requested now, at the price above. AWS bills the images that it generates, which may be fewer.", unit: "currencyUSD",
			queries: []query{{expr: `sum by (instance) (rate(cvfeeder_images_requested_total{` + chosenStreams + `}[$__rate_interval])) * ` + month + ` * $price / 1e6`, legend: "{{instance}}"}},
		}),
		chart(panel{
			title: "Clock offset", description: "How far the host's clock is ahead of that of Kinesis; below 0 it is behind. Frames are asked for by that of Kinesis.", unit: "s", width: columns / 2,
			queries: []query{{expr: `cvfeeder_clock_offset_seconds{instance=~"$instance"}`, legend: "{{instance}}"}},
		}),
		chart(panel{
			title: "Look-ups", description: "Of data endpoints and of prefixes, by result. While a camera is off, its endpoint is confirmed now and then: same. The alerts fire when more than half fail.", unit: "reqps", width: columns / 2,
			queries: []query{
				{expr: `sum by (result) (rate(cvfeeder_endpoint_lookups_total{instance=~"$instance"}[$__rate_interval]))`, legend: "endpoint: {{result}}"},
				{expr: `sum by (operation, code) (rate(cvfeeder_kinesis_requests_total{instance=~"$instance", code!="OK"}[$__rate_interval]))`, legend: "{{operation}}: {{code}}"},
				{expr: `sum by (result) (rate(cvfeeder_prefix_lookups_total{instance=~"$instance"}[$__rate_interval]))`, legend: "prefix: {{result}}"},
			},
		}),
	}
}

func fleetMachines() []panel {
	return []panel{
		chart(panel{
			title: "Workers busy", description: "Share of the time that the workers were busy, and shares in which work waited for a core, by cause: quota, machine or process. Near 100% there are too few cores.", unit: "percentunit", width: 6, max: 1,
			thresholds: []step{{nil, "transparent"}, {.9, "red"}},
			queries: []query{
				{expr: `cvfeeder_workers_busy_ratio{instance=~"$instance"}`, legend: "{{instance}}"},
				{expr: `cvfeeder_cpu_lacking_ratio{instance=~"$instance"}`, legend: "{{instance}} waits: {{cause}}"},
			},
		}),
		chart(panel{
			title: "Duration of a stage", description: "99th percentile: fetch of a window; decode, transform and publish of a frame.", unit: "s", width: 6,
			queries: []query{{expr: quantile("0.99", "cvfeeder_stage_seconds", "stage"), legend: "{{stage}}"}},
		}),
		chart(panel{
			title: "Memory", description: "Bytes between fetching and delivery, which delivery.inflight limits, and those of the whole process.", unit: "bytes", width: 6,
			queries: []query{
				{expr: `cvfeeder_inflight_bytes{instance=~"$instance"}`, legend: "{{instance}} in flight"},
				{expr: `process_resident_memory_bytes{instance=~"$instance", job="cvfeeder"}`, legend: "{{instance}} process"},
			},
		}),
		chart(panel{
			title: "NATS", description: "Messages that were not delivered, or not at the first attempt, by reason; and reconnections.", unit: "ops", width: 6,
			queries: []query{
				{expr: `sum by (reason) (rate(cvfeeder_publish_errors_total{instance=~"$instance"}[$__rate_interval]))`, legend: "{{reason}}"},
				{expr: `sum by (connection) (rate(cvfeeder_nats_reconnects_total{instance=~"$instance"}[$__rate_interval]))`, legend: "reconnects of {{connection}}"},
			},
		}),
	}
}
