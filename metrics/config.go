package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config tells whether the config at work is the one of the file, in the gauges that
// Prometheus has for its own.
type Config struct{ successful, time prometheus.Gauge }

func newConfig(f *families) *Config {
	return &Config{
		successful: f.gauge("cvfeeder_config_last_reload_successful",
			"Whether the config file was taken when it was read last: 1, or 0 where it was refused and the one before stays.").WithLabelValues(),
		time: f.gauge("cvfeeder_config_last_reload_success_timestamp_seconds", "When the config file was last taken.").WithLabelValues(),
	}
}

// Loaded says that the config file was taken.
func (c *Config) Loaded(now time.Time) {
	c.successful.Set(1)
	c.time.Set(float64(now.UnixMilli()) / 1000)
}

// Refused says that the config file was refused, and the one before stays.
func (c *Config) Refused() { c.successful.Set(0) }
