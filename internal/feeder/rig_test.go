package feeder

import (
	"image"
	"time"
)

// grey is a scene that costs nothing to draw.
type grey struct{}

func (grey) Key(string, time.Time) string { return "" }

func (grey) Picture(string, time.Time) (image.Image, error) {
	return image.NewGray(image.Rect(0, 0, 32, 32)), nil
}

// noVariables is an environment without variables.
func noVariables(string) (string, bool) { return "", false }
