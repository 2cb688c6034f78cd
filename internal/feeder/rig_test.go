package feeder_test

import (
	"fmt"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/logging"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// options returns those of a feeder with a config, and its log.
func options(t *testing.T, text string, args ...any) (feeder.Options, *natstest.Log) {
	t.Helper()
	cfg, err := config.Parse("test.yaml", fmt.Appendf(nil, text, args...), feedertest.NoVariables)
	if err != nil {
		t.Fatal(err)
	}
	log := new(natstest.Log)
	return feeder.Options{
		Config: cfg, Log: logging.New(log, logging.Options{}),
		AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
	}, log
}

// accounted returns how many slots have an outcome, or none yet: as many as are expected.
func accounted(st source.Stats) uint64 {
	sum := st.Pending
	for _, n := range st.Ended {
		sum += n
	}
	return sum
}
