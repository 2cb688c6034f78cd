package monitoring

// stream is the dashboard of one camera.
func stream() dashboard {
	return dashboard{
		file: "stream.json", uid: streamUID, title: "cvfeeder: Stream",
		description: "One camera: when it had gaps and why, how old its tensors are, and what cvfeeder has learned about it.",
		variables: []object{
			datasourceVariable(), instanceVariable(),
			queryVariable("stream", "Stream", "The camera.", `label_values(cvfeeder_stream_owned{`+chosen+`}, stream)`, false),
			priceVariable(),
		},
		links: []object{{
			"title": "Fleet", "type": "link", "icon": "dashboard", "tooltip": "All cameras", "asDropdown": false, "tags": []string{},
			"targetBlank": false, "keepTime": true, "includeVars": false, "url": "/d/" + fleetUID + "?${datasource:queryparam}&${instance:queryparam}&${price:queryparam}",
		}},
		rows: []row{
			{"Now", append(streamSlots(), streamRequests()...)},
			{"Gaps", []panel{gapTimeline(), outcomesOfStream(), freshnessOfStream()}},
			{"Kinesis", streamKinesis()},
			{"Cost and clocks", streamCost()},
		},
	}
}

// streamSlots has how the slots of the stream ended.
func streamSlots() []panel {
	return []panel{
		stat(panel{
			title: "Freshness", description: "Age of the newest tensor, on the instance where it is oldest if several read the stream.", runbook: "CvfeederStreamStale",
			unit: "s", decimals: 1, thresholds: freshnessSteps,
			queries: []query{{expr: `max(cvfeeder_freshness_seconds{` + chosenStream + `})`, legend: "freshness"}},
		}),
		stat(panel{
			title: "Frames per second", description: "Slots that are published.", runbook: "CvfeederFallingBehind", unit: "suffix:frames/s", decimals: 2, thresholds: []step{{nil, "blue"}},
			queries: []query{{expr: `sum(rate(cvfeeder_slots_total{` + chosenStream + `, outcome="published"}` + zoom + `))`, legend: "published"}},
		}),
		stat(panel{
			title: "Without a tensor", description: "Share of the slots in the time range that ended without a tensor. The alert fires at 5%.",
			runbook: "CvfeederGapRatio", unit: "percentunit", decimals: 2, thresholds: shareSteps(.01, .05),
			queries: []query{{expr: gapShare(chosenStream, "", whole), legend: "share", instant: true}},
		}),
		stat(panel{
			title: "Late", description: "Share of the slots in the time range that were not delivered within 20 seconds, although the camera sent something. 1% of a month is allowed.",
			runbook: "CvfeederSlotsLate", unit: "percentunit", decimals: 2, thresholds: shareSteps(.005, .01),
			queries: []query{{expr: late(chosenStream, "", whole), legend: "late", instant: true}},
		}),
		stat(panel{
			title: "Gaps", description: "Number of gaps in the time range.", runbook: "CvfeederGapRatio", unit: "short", thresholds: anySteps,
			queries: []query{{expr: `ceil(sum(increase(cvfeeder_gaps_total{` + chosenStream + `}` + whole + `)))`, legend: "gaps", instant: true}},
		}),
		stat(panel{
			title: "Time in gaps", description: "Total length of the gaps in the time range.", runbook: "CvfeederGapRatio", unit: "s", decimals: 1, thresholds: anySteps,
			queries: []query{{expr: `sum(increase(cvfeeder_gap_seconds_total{` + chosenStream + `}` + whole + `))`, legend: "time", instant: true}},
		}),
	}
}

// streamRequests has who reads the stream, and how.
func streamRequests() []panel {
	return []panel{
		stat(panel{
			title: "Read by", description: "Instances that read the stream. It is one, except while the stream moves, or if two read it by mistake.", runbook: "CvfeederNoOwner",
			unit: "short", thresholds: []step{{nil, "red"}, {1, "green"}, {2, "orange"}},
			queries: []query{{expr: `count(cvfeeder_stream_owned{` + chosenStream + `} == 1) or vector(0)`, legend: "instances"}},
		}),
		stat(panel{
			title: "Pending slots", description: "Slots that have not ended yet, on the instance that has most. Their number grows when media is late, requests fail, or NATS accepts nothing.",
			runbook: "CvfeederStreamStale", unit: "short", thresholds: []step{{nil, "blue"}},
			queries: []query{{expr: `max(cvfeeder_slots_pending{` + chosenStream + `})`, legend: "pending"}},
		}),
		stat(panel{
			title: "Throttled", description: "Share of the GetImages requests that Kinesis refuses because of the quota, on the instance where it is highest. The alert fires at 10%.",
			runbook: "CvfeederThrottled", unit: "percentunit", decimals: 1, thresholds: shareSteps(.01, .1),
			queries: []query{{expr: `max(` + throttled(chosenStream) + `)`, legend: "throttled"}},
		}),
		stat(panel{
			title: "Lag", description: "How far behind now the stream is read, as configured or learned.", runbook: "CvfeederStreamStale", unit: "s", decimals: 1, thresholds: []step{{nil, "blue"}},
			queries: []query{{expr: `max(cvfeeder_lag_seconds{` + chosenStream + `})`, legend: "lag"}},
		}),
		stat(panel{
			title: "Images per frame", description: "Images requested for each frame that was published or unchanged in the time range. The minimum is 1.", runbook: "What it costs", unit: "short", decimals: 2,
			thresholds: []step{{nil, "blue"}},
			queries:    []query{{expr: imagesPerFrame(chosenStream, "", whole), legend: "images", instant: true}},
		}),
		stat(panel{
			title: "Cost per month", description: "Cost of a month with as many images as were requested in the time range, at the price above. AWS bills the images that it generates, which may be fewer.",
			runbook: "What it costs", unit: "currencyUSD", decimals: 2, thresholds: []step{{nil, "blue"}},
			queries: []query{{expr: cost(chosenStream, "", whole), legend: "per month", instant: true}},
		}),
	}
}

// gapTimeline shows when there were gaps, with one band for each reason.
func gapTimeline() panel {
	return bands(panel{
		title: "Gap timeline", description: "When slots ended without a tensor, and why. Orange means some of the slots, red most of them.",
		runbook: "CvfeederGapRatio", height: 8, unit: "percentunit", min: 0, max: 1,
		thresholds: []step{{nil, "transparent"}, {1e-9, "orange"}, {.5, "red"}},
		queries: []query{{
			expr: `clamp_max(sum by (reason) (rate(cvfeeder_gap_seconds_total{` + chosenStream + `}` + zoom + `)), 1)`, legend: "{{reason}}",
		}},
	})
}

func outcomesOfStream() panel {
	return stacked(panel{
		title: "Outcomes", description: "How slots ended: published, or without a tensor, by reason.", runbook: "CvfeederGapRatio", unit: "suffix:slots/s", width: columns / 2,
		queries:   []query{{expr: `sum by (outcome) (rate(cvfeeder_slots_total{` + chosenStream + `}` + zoom + `))`, legend: "{{outcome}}"}},
		overrides: outcomeColors(),
	})
}

func freshnessOfStream() panel {
	return chart(panel{
		title: "Freshness", description: "Age of the newest tensor on each instance that reads the stream. The usual value is the length of a fragment plus some seconds. The alert fires at a minute.",
		runbook: "CvfeederStreamStale", unit: "s", width: columns / 2,
		thresholds: []step{{nil, "transparent"}, {60, "red"}},
		queries:    []query{{expr: `cvfeeder_freshness_seconds{` + chosenStream + `}`, legend: "{{instance}}"}},
	})
}

func streamKinesis() []panel {
	return []panel{
		chart(panel{
			title: "Lag and overlap", description: "How far behind now the stream is read, and how far before the first wanted slot a window starts; learned unless configured.",
			runbook: "CvfeederThrottled", unit: "s",
			queries: []query{
				{expr: `cvfeeder_lag_seconds{` + chosenStream + `}`, legend: "{{instance}} lag"},
				{expr: `cvfeeder_overlap_seconds{` + chosenStream + `}`, legend: "{{instance}} overlap"},
			},
		}),
		chart(panel{
			title: "Pending slots", description: "Slots that have not ended yet. Their number grows when media is late, requests fail, or NATS accepts nothing.",
			runbook: "CvfeederStreamStale", unit: "short",
			queries: []query{{expr: `cvfeeder_slots_pending{` + chosenStream + `}`, legend: "{{instance}}"}},
		}),
		chart(panel{
			title: "GetImages requests", description: "By the service's answer. ClientLimitExceededException means throttling, error no answer at all.", runbook: "What the codes of requests mean", unit: "reqps",
			queries: []query{{expr: `sum by (code) (rate(cvfeeder_getimages_requests_total{` + chosenStream + `}` + zoom + `))`, legend: "{{code}}"}},
		}),
	}
}

func streamCost() []panel {
	return append(costPanels(chosenStream, "a camera that sends nothing add"),
		chart(panel{
			title: "Clock of the camera", description: "How far the clock of the camera is behind that of Kinesis; below 0 it is ahead. It is 0 for streams that go by the timestamps of the service.",
			runbook: "CvfeederClockOff", unit: "s", width: columns, min: fromValues,
			queries: []query{{expr: `cvfeeder_producer_offset_seconds{` + chosenStream + `}`, legend: "{{instance}}"}},
		}),
	)
}
