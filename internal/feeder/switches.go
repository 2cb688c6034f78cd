package feeder

import (
	"fmt"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// The environment variables that turn off the parts that rest on the inner workings of
// a library. The slower way around each gives the same bytes. They are for the day on
// which an upgraded library behaves in another way than it did when it was tested.
const (
	directWritesVariable = "CVFEEDER_DIRECT_WRITES"
	rowDecoderVariable   = "CVFEEDER_ROW_DECODER"
)

// Switches say which of those parts are used.
type Switches struct {
	// DirectWrites writes large messages past the buffers of nats.go.
	DirectWrites bool
	// RowDecoder decodes baseline JPEGs with a decoder of our own, row by row.
	RowDecoder bool
}

// ReadSwitches reads the switches from the environment. Everything is on unless its
// variable is "off". The error is one of usage.
func ReadSwitches(getenv func(string) string) (s Switches, err error) {
	if s.DirectWrites, err = isOn(getenv, directWritesVariable); err != nil {
		return Switches{}, err
	}
	s.RowDecoder, err = isOn(getenv, rowDecoderVariable)
	return s, err
}

func isOn(getenv func(string) string, variable string) (bool, error) {
	switch value := getenv(variable); value {
	case "", "on":
		return true, nil
	case "off":
		return false, nil
	default:
		return false, Usage(fmt.Errorf("%s is %q in the environment: it must be on or off", variable, value))
	}
}

// Decoder returns the options of a worker that decodes as the switches and the config say.
func Decoder(s Switches, cfg *config.Config) opencv.Options {
	limit := cfg.Decoder.MaxSize
	return opencv.Options{NoRowDecoder: !s.RowDecoder, MaxWidth: limit.Width, MaxHeight: limit.Height}
}

// logSwitches logs which of the parts are not used.
func (f *Feeder) logSwitches(s Switches) {
	if !s.DirectWrites {
		f.Log.Info("messages are not written directly to the sockets", "variable", directWritesVariable)
	}
	if !s.RowDecoder {
		f.Log.Info("the row decoder is off", "variable", rowDecoderVariable)
	} else if err := opencv.CheckRowDecoder(); err != nil {
		f.Log.Warn("the row decoder cannot be used: tensors are the same, but take more CPU time", "err", err)
	}
}
