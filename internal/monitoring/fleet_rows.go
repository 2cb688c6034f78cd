package monitoring

func fleetThroughput() []panel {
	return []panel{
		chart(panel{
			title: "Frames per second", description: "Slots that are due, and those that are published.", runbook: "CvfeederFallingBehind", unit: "suffix:frames/s",
			queries: []query{
				{expr: `sum(rate(cvfeeder_slots_expected_total{` + chosenStreams + `}` + zoom + `))`, legend: "due"},
				{expr: `sum(rate(cvfeeder_slots_total{` + chosenStreams + `, outcome="published"}` + zoom + `))`, legend: "published"},
			},
		}),
		chart(panel{
			title: "Bytes per second", description: "Delivered to NATS, by output.", runbook: "CvfeederFallingBehind", unit: "Bps",
			queries: []query{{expr: `sum by (output) (rate(cvfeeder_publish_bytes_total{` + chosen + `}` + zoom + `))`, legend: "{{output}}"}},
		}),
		chart(panel{
			title: "Messages not delivered", custom: usuallyZero(), description: "Messages to NATS that were not delivered, or not at the first attempt, by reason.", runbook: "CvfeederNotStored", unit: "ops",
			queries: []query{{expr: `sum by (reason) (rate(cvfeeder_publish_errors_total{` + chosen + `}` + zoom + `))`, legend: "{{reason}}"}},
		}),
		latencyHeatmap(),
		chart(panel{
			title: "Latency", description: "From a slot's instant to the delivery of its tensor, by output. Points are traced frames.", runbook: "CvfeederSlotsLate", unit: "s", width: 12,
			queries: []query{
				{expr: quantile("0.5", "cvfeeder_latency_seconds", "output"), legend: "{{output}} median", exemplars: true},
				{expr: quantile("0.99", "cvfeeder_latency_seconds", "output"), legend: "{{output}} 99%"},
				{expr: worstQuantile("0.99", "cvfeeder_latency_seconds", "output"), legend: "{{output}} 99%, slowest instance"},
			},
		}),
	}
}

func latencyHeatmap() panel {
	return panel{
		kind: "heatmap", title: "Latency of all frames", description: "From a slot's instant to the delivery of its tensor. The brighter, the more frames.",
		runbook: "CvfeederSlotsLate",
		width:   columns / 2, height: chartHeight, unit: "s", custom: object{"hideFrom": object{"legend": false, "tooltip": false, "viz": false}, "scaleDistribution": object{"type": "linear"}},
		queries: []query{{
			expr: `sum(rate(cvfeeder_latency_seconds{` + chosen + `}` + zoom + `)) or on () ` +
				`sum by (le) (rate(cvfeeder_latency_seconds_bucket{` + chosen + `}` + zoom + `))`,
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
			title: "GetImages requests", description: "By the service's answer. ClientLimitExceededException means throttling, error no answer at all.", runbook: "What the codes of requests mean", unit: "reqps",
			queries: []query{{expr: `sum by (code) (rate(cvfeeder_getimages_requests_total{` + chosenStreams + `}` + zoom + `))`, legend: "{{code}}"}},
		}),
		chart(panel{
			title: "Throttled streams", description: "The ten cameras with the largest share of requests that Kinesis refuses because of the quota.", runbook: "CvfeederThrottled", unit: "percentunit",
			thresholds: []step{{nil, "transparent"}, {.1, "red"}},
			queries:    []query{{expr: `topk(10, ` + throttled(chosenStreams) + `)`, legend: "{{stream}} on {{instance}}"}},
			links:      []object{toStream("${__field.labels.stream}")},
		}),
		chart(panel{
			title: "Look-ups", description: "Of data endpoints and of prefixes, by result. While a camera is off, its endpoint is confirmed now and then: same. The alerts fire when more than half fail.",
			runbook: "CvfeederEndpointLookupsFail", unit: "reqps",
			queries: []query{
				{expr: `sum by (result) (rate(cvfeeder_endpoint_lookups_total{` + chosen + `}` + zoom + `))`, legend: "endpoint: {{result}}"},
				{expr: `sum by (operation, code) (rate(cvfeeder_kinesis_requests_total{` + chosen + `, code!="OK"}` + zoom + `))`, legend: "{{operation}}: {{code}}"},
				{expr: `sum by (result) (rate(cvfeeder_prefix_lookups_total{` + chosen + `}` + zoom + `))`, legend: "prefix: {{result}}"},
			},
		}),
	}
}

// costPanels are those of the chosen streams. silent says which of them add to the images.
func costPanels(chosen, silent string) []panel {
	return []panel{
		chart(panel{
			title: "Cost per month", description: "Cost of a month with as many images as are requested now, at the price above. AWS bills the images that it generates, which may be fewer.",
			runbook: "What it costs", unit: "currencyUSD",
			queries: []query{{expr: cost(chosen, "by (instance) ", zoom), legend: "{{instance}}"}},
		}),
		chart(panel{
			title: "Images per frame", description: "Images requested for each frame that was published or unchanged. The minimum is 1; retries, overlap and " + silent + " to it.",
			runbook: "What it costs", unit: "short",
			queries: []query{{expr: imagesPerFrame(chosen, "by (instance) ", zoom), legend: "{{instance}}"}},
		}),
		chart(panel{
			title: "Images by cause", description: "Images requested a second, by what they are for: live, burst, replay and request for what was wanted, overlap without which Kinesis does not find the media, and retry for what was requested before.",
			runbook: "What it costs", unit: "short",
			queries: []query{{expr: `sum by (cause) (rate(cvfeeder_images_asked_total{` + chosen + `}` + zoom + `))`, legend: "{{cause}}"}},
		}),
	}
}

func fleetCost() []panel {
	return append(costPanels(chosenStreams, "cameras that send nothing add"),
		chart(panel{
			title: "Requests for frames", description: "Requests for single frames over NATS and from the status page, by outcome, and for ranges. A picture that is fetched for a single one (made) costs two images; those refused for images have used up what an hour or a day allows.",
			runbook: "CvfeederRequestsSpent", unit: "reqps",
			queries: []query{
				{expr: `sum by (outcome) (rate(cvfeeder_frame_requests_total{` + chosen + `}` + zoom + `))`, legend: "{{outcome}}"},
				{expr: `sum by (outcome) (rate(cvfeeder_range_requests_total{` + chosen + `}` + zoom + `))`, legend: "range {{outcome}}"},
			},
		}),
		chart(panel{
			title: "Clock offset", description: "How far the host's clock is ahead of that of Kinesis; below 0 it is behind. Frames are asked for by that of Kinesis.",
			runbook: "CvfeederClockOff", unit: "s", min: fromValues,
			queries: []query{{expr: `cvfeeder_clock_offset_seconds{` + chosen + `}`, legend: "{{instance}}"}},
		}),
		chart(panel{
			title: "Clocks of cameras", description: "How far the clock of a camera is behind that of Kinesis, for the ten where it differs most; below 0 it is ahead. It is 0 for streams that go by the timestamps of the service.",
			runbook: "CvfeederClockOff", unit: "s", min: fromValues,
			queries: []query{{expr: `cvfeeder_producer_offset_seconds{` + chosenStreams + `} and topk(10, abs(cvfeeder_producer_offset_seconds{` + chosenStreams + `}))`, legend: "{{stream}} on {{instance}}"}},
			links:   []object{toStream("${__field.labels.stream}")},
		}),
	)
}

func fleetMachines() []panel {
	return []panel{
		chart(panel{
			title: "Workers busy", description: "Share of the time that the workers were busy. Near 100% there are too few cores.",
			runbook: "CvfeederTooFewCores", unit: "percentunit", max: 1, thresholds: []step{{nil, "transparent"}, {.95, "red"}},
			queries: []query{{expr: `cvfeeder_workers_busy_ratio{` + chosen + `}`, legend: "{{instance}}"}},
		}),
		chart(panel{
			title: "Waiting for a core", description: "Shares of the time in which work waited for a core, by cause: quota, machine or process.",
			runbook: "CvfeederTooFewCores", unit: "percentunit", max: 1, thresholds: []step{{nil, "transparent"}, {.5, "red"}},
			queries: []query{{expr: `cvfeeder_cpu_lacking_ratio{` + chosen + `}`, legend: "{{instance}}: {{cause}}"}},
		}),
		chart(panel{
			title: "Duration of a stage", description: "99th percentile on the slowest instance: fetch of a window; decode, transform and publish of a frame.",
			runbook: "CvfeederFallingBehind", unit: "s",
			queries: []query{{expr: worstQuantile("0.99", "cvfeeder_stage_seconds", "stage"), legend: "{{stage}}"}},
		}),
		chart(panel{
			title: "Memory in flight", description: "Bytes between fetching and delivery. delivery.inflight limits them.", runbook: "CvfeederFallingBehind", unit: "bytes",
			queries: []query{{expr: `cvfeeder_inflight_bytes{` + chosen + `}`, legend: "{{instance}}"}},
		}),
		chart(panel{
			title: "Memory of the process", description: "Resident memory.", runbook: "CvfeederDown", unit: "bytes",
			queries: []query{{expr: `process_resident_memory_bytes{` + chosen + `, job="cvfeeder"}`, legend: "{{instance}}"}},
		}),
		chart(panel{
			title: "Reconnections to NATS", custom: usuallyZero(), description: "How often a connection was lost and made again, within the time of a point.", runbook: "CvfeederBrokerAway", unit: "short",
			queries: []query{{expr: `sum by (instance, connection) (increase(cvfeeder_nats_reconnects_total{` + chosen + `}` + zoom + `))`, legend: "{{instance}}: {{connection}}"}},
		}),
	}
}

// natsServers has what NATS' own exporter tells of the servers, whichever instances are
// chosen.
func natsServers() []panel {
	return []panel{
		chart(panel{
			title: "Storage of JetStream", description: "Share of the file storage of each NATS server that is used up. Needs prometheus-nats-exporter, as all panels of this row.",
			runbook: "CvfeederNatsStorageNearlyFull", unit: "percentunit", max: 1, thresholds: []step{{nil, "transparent"}, {.85, "red"}},
			queries: []query{{expr: `max by (server_id) (gnatsd_varz_jetstream_stats_storage / gnatsd_varz_jetstream_config_max_storage)`, legend: "{{server_id}}"}},
		}),
		chart(panel{
			title: "Slow consumers", custom: usuallyZero(), description: "Connections that a NATS server has closed because they read too slowly, within the time of a point.",
			runbook: "CvfeederNatsSlowConsumers", unit: "short",
			queries: []query{{expr: `sum by (server_id) (increase(gnatsd_varz_slow_consumers` + zoom + `))`, legend: "{{server_id}}"}},
		}),
		chart(panel{
			title: "Traffic of NATS", description: "Bytes that each NATS server takes and gives out.", runbook: "CvfeederNatsSlowConsumers", unit: "Bps",
			queries: []query{
				{expr: `sum by (server_id) (rate(gnatsd_varz_in_bytes` + zoom + `))`, legend: "{{server_id}} in"},
				{expr: `sum by (server_id) (rate(gnatsd_varz_out_bytes` + zoom + `))`, legend: "{{server_id}} out"},
			},
		}),
		chart(panel{
			title: "Unread messages", description: "Messages of a JetStream stream that a consumer has yet to get, for the ten that have most.",
			runbook: "CvfeederStreamFull", unit: "short", width: columns / 2,
			queries: []query{{expr: `topk(10, max by (stream_name, consumer_name) (jetstream_consumer_num_pending{stream_name!~"KV_.*"}))`, legend: "{{stream_name}}: {{consumer_name}}"}},
		}),
		chart(panel{
			title: "Size of JetStream streams", description: "What each stream holds on its leader, for the ten largest.", runbook: "CvfeederStreamFull", unit: "bytes", width: columns / 2,
			queries: []query{{expr: `topk(10, max by (stream_name) (jetstream_stream_total_bytes{is_stream_leader="true"}))`, legend: "{{stream_name}}"}},
		}),
	}
}
