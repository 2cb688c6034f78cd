package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cvfeeder/cvfeeder/transform"
)

// Corner is a point of a picture, in fractions of its width and height: [0.1, 0.2].
type Corner [2]float64

// Fill is a color, written as one number from 0 to 255, or as red, green and blue.
type Fill [3]uint8

// UnmarshalText reads one or three whole numbers.
func (f *Fill) UnmarshalText(text []byte) error {
	all, channels, err := transform.ParsePad(string(text))
	if err != nil {
		return fmt.Errorf(`%.40q is not a color; a whole number from 0 to 255, or red, green and blue such as "255,0,0"`, text)
	}
	for c, v := range channels {
		if v != float64(uint8(v)) {
			return fmt.Errorf("%.40q is not a color; whole numbers from 0 to 255", text)
		}
		f[c] = uint8(v)
	}
	if channels == [3]float64{} {
		*f = Fill{all, all, all}
	}
	return nil
}

// MarshalText writes what [Fill.UnmarshalText] reads.
func (f Fill) MarshalText() ([]byte, error) {
	if f[0] == f[1] && f[1] == f[2] {
		return fmt.Appendf(nil, "%d", f[0]), nil
	}
	return fmt.Appendf(nil, "%d,%d,%d", f[0], f[1], f[2]), nil
}

// String writes the mask as a file has it, in one line.
func (m Mask) String() string {
	var parts []string
	if m.Polygon != nil {
		corners := make([]string, len(m.Polygon))
		for i, c := range m.Polygon {
			corners[i] = fmt.Sprintf("[%v, %v]", c[0], c[1])
		}
		parts = append(parts, "polygon: ["+strings.Join(corners, ", ")+"]")
	} else {
		parts = append(parts, fmt.Sprintf("box: [%v, %v, %v, %v]", m.Box[0], m.Box[1], m.Box[2], m.Box[3]))
	}
	if m.Pixelate > 0 {
		parts = append(parts, fmt.Sprintf("pixelate: %d", m.Pixelate))
	} else if fill, _ := m.Fill.MarshalText(); string(fill) != "0" {
		parts = append(parts, fmt.Sprintf("fill: %q", fill))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// transform returns the mask.
func (m Mask) transform() transform.Mask {
	t := transform.Mask{Fill: m.Fill, Pixelate: m.Pixelate}
	if m.Polygon == nil {
		t.Polygon = transform.BoxPolygon(m.Box)
		return t
	}
	for _, c := range m.Polygon {
		t.Polygon = append(t.Polygon, transform.Fraction{X: c[0], Y: c[1]})
	}
	return t
}

// Camera returns what is particular to the stream's pictures, nil where nothing is. It is a new
// value at each call.
func (s Stream) Camera() *transform.Camera {
	lens := s.Lens.transform()
	if len(s.Masks) == 0 && lens == nil {
		return nil
	}
	c := &transform.Camera{Lens: lens}
	for _, m := range s.Masks {
		c.Masks = append(c.Masks, m.transform())
	}
	return c
}

// CameraOf returns what is particular to the pictures of a stream, by its name or prefix. Without a
// name it is the only stream with the output, or any of several if nothing is particular to them.
func (c *Config) CameraOf(stream, output string) (*transform.Camera, error) {
	var names []string
	var found *transform.Camera
	for _, s := range c.Streams {
		name := s.Name + s.Prefix
		switch {
		case stream != "" && stream == name:
			return s.Camera(), nil
		case slices.Contains(s.Outputs, output):
			names = append(names, name)
			if camera := s.Camera(); camera != nil {
				found = camera
			}
		}
	}
	if stream != "" {
		return nil, fmt.Errorf("there is no stream %q in the config", stream)
	}
	if found != nil && len(names) > 1 {
		return nil, fmt.Errorf("streams with this output have masks or lenses: say which one's with --stream NAME: %s", strings.Join(names, ", "))
	}
	return found, nil
}

func (d checker) checkMasks(s *Stream, path string) {
	if n := len(s.Masks); n > transform.MaxMasks {
		d.Report(path, "%d masks; at most %d", n, transform.MaxMasks)
	}
	for i, m := range s.Masks {
		at := fmt.Sprintf("%s[%d]", path, i)
		broken := d.Failed(at) || d.Failed(at+".polygon") || d.Failed(at+".box") || d.Failed(at+".pixelate")
		for n := range m.Polygon {
			corner := fmt.Sprintf("%s.polygon[%d]", at, n)
			broken = broken || d.Failed(corner) || d.Failed(corner+"[0]") || d.Failed(corner+"[1]")
		}
		polygon, box := d.IsSet(at+".polygon"), d.IsSet(at+".box")
		switch {
		case broken:
		case !polygon && !box:
			d.Report(at, "the mask has no shape; set polygon or box")
		case polygon && box:
			d.Report(at+".box", "polygon is set as well; use only one of them")
		case d.IsSet(at+".fill") && m.Pixelate > 0:
			d.Report(at+".fill", "pixelate is set as well; use only one of them")
		case box && !(m.Box[2] > 0 && m.Box[3] > 0):
			d.Report(at+".box", "its width and height must be above 0")
		default:
			t := m.transform()
			if polygon && m.Polygon == nil {
				t.Polygon = nil
			}
			if err := t.Validate(); err != nil {
				d.Report(at, "%v", err)
			}
		}
	}
}
