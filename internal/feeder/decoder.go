package feeder

import (
	"fmt"
	"os"

	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// rowDecoder is the variable of the environment that turns the row decoder off.
const rowDecoder = "CVFEEDER_ROW_DECODER"

// DecoderOptions returns the options of workers that decode as the environment asks for:
// CVFEEDER_ROW_DECODER=off turns the row decoder off. Every worker of the program is made
// with them.
func DecoderOptions() (opencv.Options, error) {
	switch value := os.Getenv(rowDecoder); value {
	case "", "on":
		return opencv.Options{}, nil
	case "off":
		return opencv.Options{NoRowDecoder: true}, nil
	default:
		return opencv.Options{}, Usage(fmt.Errorf("%s is %q in the environment: it must be on or off", rowDecoder, value))
	}
}

// decoder returns [DecoderOptions], and logs where the row decoder is not used.
func (f *Feeder) decoder() (opencv.Options, error) {
	o, err := DecoderOptions()
	if err != nil {
		return o, err
	}
	if o.NoRowDecoder {
		f.log.Info("the row decoder is off", "variable", rowDecoder)
	} else if err := opencv.CheckRowDecoder(); err != nil {
		f.log.Warn("the row decoder cannot be used: tensors are the same, but take more CPU time", "err", err)
	}
	return o, nil
}
