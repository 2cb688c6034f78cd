package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Config reports whether the current config is the one in the file, with gauges like
// those that Prometheus has for its own config.
type Config struct{ successful, time prometheus.Gauge }

func newConfig(f *families) *Config {
	return &Config{
		successful: f.gauge("cvfeeder_config_last_reload_successful",
			"1 if the config file was accepted when it was last read, 0 if it was refused and the config before it still applies.").WithLabelValues(),
		time: f.gauge("cvfeeder_config_last_reload_success_timestamp_seconds", "When the config file was last accepted, in seconds since the Unix epoch.").WithLabelValues(),
	}
}

// Loaded notes that the config file was accepted.
func (c *Config) Loaded(now time.Time) {
	c.successful.Set(1)
	c.time.Set(float64(now.UnixMilli()) / 1000)
}

// Refused notes that the config file was refused, and the config before it still applies.
func (c *Config) Refused() { c.successful.Set(0) }
