package monitoring

// annotations mark in every chart when alerts fired, and what people or replicas changed.
func annotations() []object {
	// A version is new for as long as the job did not have it two minutes before.
	const versions = `count by (job, version) (cvfeeder_build_info{` + chosen + `}`
	// A stream has moved if an instance has it that did not a minute before, when another had it.
	const owned = `cvfeeder_stream_owned{` + chosen + `, stream=~"$stream"}`
	return []object{
		annotation("Alerts", "red", `ALERTS{alertname=~"Cvfeeder.*", alertstate="firing", stream=~"$stream|", instance=~"$instance|"}`,
			object{"titleFormat": "{{alertname}}", "textFormat": "{{stream}} {{instance}}", "tagKeys": "severity"}),
		annotation("Deploys", "blue", versions+`) unless on (job, version) `+versions+` offset 2m)`,
			object{"titleFormat": "New version {{version}}", "textFormat": "{{job}}"}),
		annotation("Config", "green", `cvfeeder_config_last_reload_success_timestamp_seconds{`+chosen+`} * 1000`,
			object{"titleFormat": "Config accepted", "textFormat": "{{instance}}", "useValueForTime": true}),
		annotation("Moves", "purple", `count by (instance) ((`+owned+` unless on (instance, stream) (`+owned+` offset 1m)) and on (stream) (`+owned+` offset 1m))`,
			object{"titleFormat": "Took streams over", "textFormat": "{{instance}}"}),
	}
}

func annotation(name, color, expr string, more object) object {
	a := object{"name": name, "datasource": datasource(), "enable": true, "hide": false, "iconColor": color, "expr": expr, "step": "30s"}
	for key, value := range more {
		a[key] = value
	}
	return a
}
