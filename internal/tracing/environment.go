package tracing

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
)

// wanted tells whether the environment asks for traces. A value that is not supported is
// logged and ignored, as OpenTelemetry's specification says.
func wanted(log *slog.Logger) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "otlp":
		return true
	case "none":
		return false
	case "":
		return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	default:
		log.Warn("traces are off: OTEL_TRACES_EXPORTER is neither otlp nor none", "value", exporter)
		return false
	}
}

// checkEndpoint returns an error where an endpoint is not a URL. OpenTelemetry would send
// the traces to another one instead.
func checkEndpoint() error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		value := os.Getenv(name)
		if u, err := url.Parse(value); value != "" && (err != nil || u.Scheme == "" || u.Opaque != "") {
			return fmt.Errorf("%s is not a URL such as http://collector:4318", name) // the value may hold a password
		}
	}
	return nil
}
