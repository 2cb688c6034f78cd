package publish

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/cvfeeder/cvfeeder/transform"
)

// NewMessage returns the message that carries t, a tensor or an encoded picture, on the given
// subject. Its data is
// t's own memory, not a copy. From then on, t's data must not change.
//
// Numbers are written as the shortest decimals that read back as the same
// float64. A control character in a name, which a header cannot hold, becomes an
// underscore.
func NewMessage(subject string, t *transform.Tensor) Message {
	h := map[string][]string{
		HeaderVersion: {Version},
		HeaderStream:  {headerText(t.Stream)},
		HeaderOutput:  {headerText(t.Output.Name)},
		HeaderTime:    {t.Slot.String()},
		HeaderCapture: {t.Capture.UTC().Format(TimeFormat)},
		HeaderShape:   {joinInts(t.Shape)},
		HeaderSource:  {joinSize(t.Source)},
		HeaderAffine:  {joinAffines(t.Affines)},
		HeaderSpec:    {headerText(t.Output.Fingerprint)},
		HeaderMsgID:   {MessageID(t.Stream, t.Slot, t.Output.Name, t.Output.Fingerprint)},
	}
	if t.Map != nil {
		h[HeaderMap] = []string{t.Map.String()}
	}
	if t.ContentType != "" {
		describePicture(h, t)
	} else {
		describeElements(h, t)
	}
	return Message{Subject: subject, Header: h, Data: t.Data, Share: t.Share()}
}

// describeElements adds the headers that only a tensor has.
func describeElements(h map[string][]string, t *transform.Tensor) {
	spec := &t.Output.Spec
	channels := spec.Color.Channels()
	h[HeaderDType] = []string{spec.DType.Wire()}
	h[HeaderLayout] = []string{strings.ToUpper(string(layoutOf(t)))}
	h[HeaderColor] = []string{strings.ToUpper(string(spec.Color))}
	h[HeaderScale] = []string{joinFloats([]float64{spec.Scale})}
	h[HeaderMean] = []string{joinFloats(spec.Mean[:channels])}
	h[HeaderStd] = []string{joinFloats(spec.Std[:channels])}
	if spec.Raw() {
		h[HeaderNormalized] = []string{"false"}
	}
	if spec.QuantScale != 0 {
		h[HeaderQuantScale] = []string{joinFloats([]float64{spec.QuantScale})}
		h[HeaderQuantZero] = []string{joinInts([]int{spec.QuantZeroPoint})}
	}
	if t.Clip != nil {
		h[HeaderClip] = []string{joinClip(t.Clip)}
	}
	if t.Batch != nil {
		streams, sources := joinRows(t.Batch)
		h[HeaderBatch], h[HeaderSource] = []string{streams}, []string{sources}
	}
}

// describePicture adds the headers that only an encoded picture has.
func describePicture(h map[string][]string, t *transform.Tensor) {
	color := transform.RGB
	if t.Shape[len(t.Shape)-1] == 1 {
		color = transform.Gray
	}
	h[HeaderType] = []string{t.ContentType}
	h[HeaderLength] = []string{strconv.Itoa(len(t.Data))}
	h[HeaderColor] = []string{strings.ToUpper(string(color))}
}

// layoutOf returns the layout of a tensor; of a frame that is to become a part of a clip that of
// the frame.
func layoutOf(t *transform.Tensor) transform.Layout {
	if t.Clip == nil {
		return t.Output.Spec.Layout.Frame()
	}
	return t.Output.Spec.Layout
}

// headerText makes s safe as a header's value. Control characters, which could end the
// header, become underscores, and so do spaces at either end, which readers trim.
func headerText(s string) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '_'
		}
		return r
	}, s)
	trimmed := strings.TrimSpace(clean)
	if trimmed == clean {
		return clean
	}
	start := strings.Index(clean, trimmed)
	end := len(clean) - start - len(trimmed)
	return strings.Repeat("_", start) + trimmed + strings.Repeat("_", end)
}

func joinInts(values []int) string {
	var b []byte
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(v), 10)
	}
	return string(b)
}

// joinAffines separates the maps of several pictures by semicolons.
func joinAffines(maps []transform.Affine) string {
	texts := make([]string, len(maps))
	for i, a := range maps {
		texts[i] = joinFloats(a[:])
	}
	return strings.Join(texts, ";")
}

func joinFloats(values []float64) string {
	var b []byte
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, v, 'g', -1, 64)
	}
	return string(b)
}
