package publish

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/cvfeeder/cvfeeder/transform"
)

// NewMessage returns the message that carries t on the given subject. Its data is
// t's own memory, not a copy. From then on, t's data must not change.
//
// Numbers are written as the shortest decimals that read back as the same
// float64. A control character in a name, which a header cannot hold, becomes an
// underscore.
func NewMessage(subject string, t *transform.Tensor) Message {
	spec := &t.Output.Spec
	channels := spec.Color.Channels()
	h := map[string][]string{
		HeaderVersion: {Version},
		HeaderStream:  {headerText(t.Stream)},
		HeaderOutput:  {headerText(t.Output.Name)},
		HeaderTime:    {t.Slot.String()},
		HeaderCapture: {t.Capture.UTC().Format(TimeFormat)},
		HeaderDType:   {spec.DType.Wire()},
		HeaderShape:   {joinInts(t.Shape)},
		HeaderLayout:  {strings.ToUpper(string(spec.Layout))},
		HeaderColor:   {strings.ToUpper(string(spec.Color))},
		HeaderSource:  {fmt.Sprintf("%dx%d", t.Source.X, t.Source.Y)},
		HeaderAffine:  {joinFloats(t.Affine[:])},
		HeaderScale:   {joinFloats([]float64{spec.Scale})},
		HeaderMean:    {joinFloats(spec.Mean[:channels])},
		HeaderStd:     {joinFloats(spec.Std[:channels])},
		HeaderSpec:    {headerText(t.Output.Fingerprint)},
		HeaderMsgID:   {MessageID(t.Stream, t.Slot, t.Output.Name, t.Output.Fingerprint)},
	}
	if spec.DType == transform.Uint8 {
		h[HeaderNormalized] = []string{"false"}
	}
	return Message{Subject: subject, Header: h, Data: t.Data, Share: t.Share()}
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
