package monitoring

const (
	fleetUID  = "cvfeeder-fleet"
	streamUID = "cvfeeder-stream"
)

// freshnessSteps are the ages from which a stream is late, and stale as in the alerts.
var freshnessSteps = []step{{nil, "green"}, {20, "orange"}, {60, "red"}}

// anySteps are those of a number that is 0 while all is well.
var anySteps = []step{{nil, "green"}, {1, "orange"}}

func shareSteps(warn, bad float64) []step {
	return []step{{nil, "green"}, {warn, "orange"}, {bad, "red"}}
}

// fleet is the dashboard of all streams, worst first.
func fleet() dashboard {
	return dashboard{
		file: "fleet.json", uid: fleetUID, title: "cvfeeder: Fleet",
		description: "All cameras: which ones have gaps or are stale and why, how old their tensors are, and what they cost.",
		variables: []object{
			datasourceVariable(), instanceVariable(),
			queryVariable("stream", "Stream", "The cameras to show.", `label_values(cvfeeder_stream_owned{`+chosen+`}, stream)`, true),
			priceVariable(),
		},
		links: []object{{
			"title": "Stream", "type": "link", "icon": "dashboard", "tooltip": "One camera", "asDropdown": false, "tags": []string{},
			"targetBlank": false, "keepTime": true, "includeVars": false, "url": "/d/" + streamUID + "?${datasource:queryparam}&${instance:queryparam}&${price:queryparam}",
		}},
		rows: []row{
			{"Now", append(fleetCameras(), fleetInstances()...)},
			{"Cameras", []panel{reasons(), streamsByState(), gapsByReason(), freshnessOfFleet(), allowanceOfFleet(), streamTable()}},
			{"Throughput", fleetThroughput()},
			{"Kinesis", fleetKinesis()},
			{"Cost and clocks", fleetCost()},
			{"Machines and connections to NATS", fleetMachines()},
			{"NATS servers", natsServers()},
		},
	}
}

// fleetCameras has how the cameras are now. What is of each camera is asked for at one instant,
// because it takes long for the whole time with thousands of them, and charts below have it.
func fleetCameras() []panel {
	return []panel{
		stat(panel{
			title: "Cameras", description: "Cameras that are being read.", runbook: "CvfeederNoStreams", unit: "short", thresholds: []step{{nil, "red"}, {1, "blue"}},
			queries: []query{{expr: `count(count by (stream) (cvfeeder_stream_owned{` + chosenStreams + `} == 1)) or vector(0)`, legend: "cameras", instant: true}},
		}),
		stat(panel{
			title: "Stale", description: "Cameras whose newest tensor is older than a minute, on any instance that reads them.", runbook: "CvfeederStreamStale",
			unit: "short", thresholds: anySteps,
			queries: []query{{expr: `count(` + oldestOf + ` > 60) or vector(0)`, legend: "stale", instant: true}},
		}),
		stat(panel{
			title: "Oldest camera", description: "Age of the newest tensor of the camera that is furthest behind.", runbook: "CvfeederStreamStale",
			unit: "s", decimals: 1, thresholds: freshnessSteps,
			queries: []query{{expr: `max(` + freshness + `)`, legend: "freshness", instant: true}},
		}),
		stat(panel{
			title: "With gaps", description: "Cameras with slots that have just ended without a tensor.", runbook: "CvfeederGapRatio", unit: "short", thresholds: anySteps,
			queries: []query{{expr: `count(` + withGaps + `) or vector(0)`, legend: "with gaps", instant: true}},
		}),
		stat(panel{
			title: "Without a tensor", description: "Share of the slots of all cameras in the time range that ended without a tensor. The alert fires at 5% of one camera.",
			runbook: "CvfeederGapRatio", unit: "percentunit", decimals: 2, thresholds: shareSteps(.01, .05),
			queries: []query{{expr: gapShare(chosenStreams, "", whole), legend: "share", instant: true}},
		}),
		stat(panel{
			title: "Late", description: "Share of the slots in the time range that were not delivered within 20 seconds, although the camera sent something. 1% of a month is allowed.",
			runbook: "CvfeederSlotsLate", unit: "percentunit", decimals: 2, thresholds: shareSteps(.005, .01),
			queries: []query{{expr: late(chosenStreams, "", whole), legend: "late", instant: true}},
		}),
	}
}

// fleetInstances has how the instances are now, and what surrounds them.
func fleetInstances() []panel {
	return []panel{
		stat(panel{
			title: "Unwell instances", description: "Instances that have a reason why something does not flow. The panel below has the reasons.", runbook: "CvfeederStuck",
			unit: "short", thresholds: anySteps,
			queries: []query{{expr: `count(sum by (instance) (cvfeeder_not_ready{` + chosen + `}) > 0) or vector(0)`, legend: "instances"}},
		}),
		stat(panel{
			title: "NATS down", description: "Connections to NATS that are down.", runbook: "CvfeederBrokerAway", unit: "short", thresholds: []step{{nil, "green"}, {1, "red"}},
			queries: []query{{expr: `count(cvfeeder_nats_connected{` + chosen + `} == 0) or vector(0)`, legend: "down"}},
		}),
		stat(panel{
			title: "Throttled most", description: "Share of the GetImages requests that Kinesis refuses because of the quota, for the camera that has most of them. The alert fires at 10%.",
			runbook: "CvfeederThrottled", unit: "percentunit", decimals: 1, thresholds: shareSteps(.01, .1),
			queries: []query{{expr: `max(` + throttled(chosenStreams) + `)`, legend: "throttled", instant: true}},
		}),
		stat(panel{
			title: "Clock offset", description: "How far the clock of a host differs from that of Kinesis, for the host where it does most. The alert fires at a second.",
			runbook: "CvfeederClockOff", unit: "s", decimals: 2, thresholds: []step{{nil, "green"}, {.5, "orange"}, {1, "red"}},
			queries: []query{{expr: `max(abs(cvfeeder_clock_offset_seconds{` + chosen + `}))`, legend: "offset"}},
		}),
		stat(panel{
			title: "Busiest worker", description: "Share of the time that the workers were busy, on the instance where they have most to do. Near 100% it has too few cores.",
			runbook: "CvfeederTooFewCores", unit: "percentunit", decimals: 0, thresholds: shareSteps(.8, .95),
			queries: []query{{expr: `max(cvfeeder_workers_busy_ratio{` + chosen + `})`, legend: "busy"}},
		}),
		stat(panel{
			title: "Cost per month", description: "Cost of a month with as many images as were requested in the time range, at the price above. AWS bills the images that it generates, which may be fewer.",
			runbook: "What it costs", unit: "currencyUSD", decimals: 2, thresholds: []step{{nil, "blue"}},
			queries: []query{{expr: cost(chosenStreams, "", whole), legend: "per month", instant: true}},
		}),
	}
}

// reasons shows when something kept frames from flowing, with one band for each reason.
func reasons() panel {
	return bands(panel{
		title: "Reasons", description: "What keeps frames from flowing, as /readyz, the status page and the log name it. A band is there as long as any instance or camera has the reason.",
		runbook: "CvfeederStreamStale", height: 9, unit: "short", noValue: "All is well",
		thresholds: []step{{nil, "transparent"}, {1, "orange"}},
		queries:    []query{{expr: `sum by (reason) (cvfeeder_not_ready{` + chosen + `}) > 0`, legend: "{{reason}}"}},
	})
}

func streamsByState() panel {
	return stacked(panel{
		title: "Cameras by state", description: "Stale: no tensor for a minute, on any instance that reads it. With gaps: not stale, but some slots have just ended without a tensor.",
		runbook: "CvfeederStreamStale", unit: "short", width: 12,
		queries: []query{
			{expr: `count(` + oldestOf + ` > 60) or vector(0)`, legend: "stale"},
			{expr: `count((` + withGaps + `) unless on (stream) (` + oldestOf + ` > 60)) or vector(0)`, legend: "with gaps"},
			{expr: `count(` + oldestOf + ` <= 60 unless on (stream) (` + withGaps + `)) or vector(0)`, legend: "fresh"},
		},
		overrides: []object{colored("stale", "red"), colored("with gaps", "orange"), colored("fresh", "green")},
	})
}

func gapsByReason() panel {
	return stacked(panel{
		title: "Gaps by reason", description: "Seconds without a tensor per second, of all cameras together: 1 means one camera all the time.",
		runbook: "CvfeederGapRatio", unit: "none", width: 12,
		queries:   []query{{expr: `sum by (reason) (rate(cvfeeder_gap_seconds_total{` + chosenStreams + `}` + zoom + `))`, legend: "{{reason}}"}},
		overrides: outcomeColors(),
	})
}

func freshnessOfFleet() panel {
	return chart(panel{
		title: "Freshness", description: "Age of the newest tensor of each camera. The usual value is the length of a fragment plus some seconds. The alert fires at a minute.",
		runbook: "CvfeederStreamStale", unit: "s", width: 12,
		thresholds: []step{{nil, "transparent"}, {60, "red"}},
		queries: []query{
			{expr: `quantile(0.5, ` + freshness + `)`, legend: "median"},
			{expr: `quantile(0.95, ` + freshness + `)`, legend: "95%"},
			{expr: `quantile(0.99, ` + freshness + `)`, legend: "99%"},
			{expr: `max(` + freshness + `)`, legend: "oldest"},
		},
	})
}

func allowanceOfFleet() panel {
	return chart(panel{
		title: "Late slots", description: "Share of the slots that were not delivered within 20 seconds, although the camera sent something, on each instance. At 1% the allowance lasts exactly a month; the alert fires at 14.4% for an hour or 6% for six.",
		runbook: "CvfeederSlotsLate", unit: "percentunit", width: 12,
		thresholds: []step{{nil, "transparent"}, {.01, "orange"}, {.144, "red"}},
		queries:    []query{{expr: late(chosenStreams, "by (instance) ", zoom), legend: "{{instance}}"}},
	})
}
