package config

import (
	"time"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
)

// Health is what is looked for in the camera's pictures: whether it sees well. Only pictures that
// are decoded, or that a gate compares, are looked at.
type Health struct {
	// Every is the time between the pictures that are looked at, at least, and of three frames one
	// is at most; 0 looks at none.
	Every time.Duration `yaml:"every"`
	// After is how long a condition has to last before it is told; 0 tells it after three
	// pictures.
	After time.Duration `yaml:"after"`
	// Black is the mean brightness, in levels of 0 to 255, below which a picture without contrast
	// is black; 0 does not look for it.
	Black int `yaml:"black" jsonschema:"minimum=0,maximum=255"`
	// Covered is the contrast, in relation to the mean brightness, below which nothing is to be
	// seen; 0% does not look for it.
	Covered Share `yaml:"covered"`
	// Frozen is whether pictures that are the very same are looked for.
	Frozen bool `yaml:"frozen"`
	// Turned is how much like the usual view the picture has to be for the camera not to have
	// been turned; 0% does not look for it.
	Turned Share `yaml:"turned"`
	// Relearn is after which time another view is taken for the usual one; 0 is never.
	Relearn time.Duration `yaml:"relearn"`
	// Blurred is the share of the usual sharpness below which a picture is blurred; 0% does not
	// look for it.
	Blurred Share `yaml:"blurred"`
	// Flickering is the share by which the brightness has to jump to and fro; 0% does not look
	// for it.
	Flickering Share `yaml:"flickering"`
}

// Options returns what package camerahealth looks for.
func (h Health) Options() camerahealth.Options {
	return camerahealth.Options{
		Every: h.Every, After: h.After, Black: float64(h.Black), Covered: float64(h.Covered), Frozen: h.Frozen,
		Turned: float64(h.Turned), Relearn: h.Relearn, Blurred: float64(h.Blurred), Flickering: float64(h.Flickering),
	}
}
