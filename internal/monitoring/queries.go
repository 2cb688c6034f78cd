package monitoring

const (
	// month is 30 days in seconds.
	month = "2592000"
	// chosen selects the series of the instances that the user has chosen, chosenStreams
	// those of the streams as well, and chosenStream those of the one stream.
	chosen        = `instance=~"$instance"`
	chosenStreams = chosen + `, stream=~"$stream"`
	chosenStream  = chosen + `, stream="$stream"`

	zoom  = "[$__rate_interval]"
	whole = "[$__range]"
)

// withGaps selects the streams that had a gap lately, on any instance.
const withGaps = `sum by (stream) (increase(cvfeeder_gap_seconds_total{` + chosenStreams + `}` + zoom + `)) > 0`

// freshness is the age of the newest tensor of each stream, on each instance that reads it.
const freshness = `cvfeeder_freshness_seconds{` + chosenStreams + `}`

// oldestOf is the age of the newest tensor of each stream, on the instance where that is
// oldest: while two read a stream, the one that does not get along is the one to see.
const oldestOf = `max by (stream) (` + freshness + `)`

// gapShare is the query for the share of slots that ended without a tensor.
func gapShare(series, by, over string) string {
	return `sum ` + by + `(rate(cvfeeder_slots_total{` + series + `, outcome!~"published|unwatched|unchanged|skipped"}` + over + `)) / (sum ` + by + `(rate(cvfeeder_slots_total{` + series + `}` + over + `)) > 0)`
}

// throttled is the query for the share of requests that were throttled, for each stream on
// each instance.
func throttled(series string) string {
	const by = `by (instance, stream) `
	return `sum ` + by + `(rate(cvfeeder_getimages_requests_total{` + series + `, code=~"ClientLimitExceededException|ThrottlingException"}` + zoom + `)) / (sum ` +
		by + `(rate(cvfeeder_getimages_requests_total{` + series + `}` + zoom + `)) > 0)`
}

// late is the query for the share of slots that were not delivered in time, of those that
// the rules of docker/prometheus count: without those for which the camera sent nothing, or
// for which nobody listened, and without streams that begin at a time in the past.
func late(series, by, over string) string {
	rate := func(metric string) string {
		return `sum ` + by + `(rate(` + metric + over + `) and on (instance, stream) cvfeeder_slots_in_time_total)`
	}
	return `clamp(1 - (` + rate(`cvfeeder_slots_in_time_total{`+series+`}`) + ` + ` +
		rate(`cvfeeder_slots_total{`+series+`, outcome=~"no_media|media_error|unwatched|skipped"}`) +
		`) / (` + rate(`cvfeeder_slots_expected_total{`+series+`}`) + ` > 0), 0, 1)`
}

// cost is the query for what a month costs with as many images as are requested now.
func cost(series, by, over string) string {
	return `sum ` + by + `(rate(cvfeeder_images_requested_total{` + series + `}` + over + `)) * ` + month + ` * $price / 1e6`
}

// imagesPerFrame is the query for the images requested for each frame that was published, or
// showed nothing new.
func imagesPerFrame(series, by, over string) string {
	return `sum ` + by + `(rate(cvfeeder_images_requested_total{` + series + `}` + over + `)) / (sum ` + by +
		`(rate(cvfeeder_slots_total{` + series + `, outcome=~"published|unchanged"}` + over + `)) > 0)`
}

// quantile is the query for a quantile of a histogram, native or classic, over all
// instances.
func quantile(q, metric, by string) string {
	const series = `{` + chosen + `}` + zoom + `)))`
	return `histogram_quantile(` + q + `, sum by (` + by + `) (rate(` + metric + series + ` or histogram_quantile(` + q + `, sum by (` + by + `, le) (rate(` + metric + `_bucket` + series
}

// worstQuantile is the query for a quantile on the instance where that is highest.
func worstQuantile(q, metric, by string) string {
	return `max by (` + by + `) (` + quantile(q, metric, "instance, "+by) + `)`
}
