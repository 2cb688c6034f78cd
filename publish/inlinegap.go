package publish

import (
	"fmt"
	"strconv"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// An InlineGap is a gap that is told in order among the tensors of one output.
type InlineGap struct {
	Gap
	// Output and Spec are those of the tensors that are missing.
	Output, Spec string
}

// NewInlineGap returns the message that takes the place of the tensors of g on
// their subject. Its payload is empty, and its identity is that of the first
// tensor that is missing, so that of a tensor and a gap for the same slot the
// broker keeps only what came first.
func NewInlineGap(subject string, g Gap, o *transform.Output) Message {
	return Message{Subject: subject, Header: map[string][]string{
		HeaderVersion:  {Version},
		HeaderStream:   {headerText(g.Stream)},
		HeaderOutput:   {headerText(o.Name)},
		HeaderTime:     {g.From.String()},
		HeaderGap:      {headerText(g.Reason)},
		HeaderGapTo:    {g.To.String()},
		HeaderGapSlots: {strconv.Itoa(g.Slots)},
		HeaderSpec:     {headerText(o.Fingerprint)},
		HeaderMsgID:    {MessageID(g.Stream, g.From, o.Name, o.Fingerprint)},
	}}
}

// Without returns what is left of a gap's message when all slots up to last, which
// the gap holds, are taken away.
func (g InlineGap) Without(last source.Slot, subject string) Message {
	step := max((g.To-g.From)/source.Slot(max(g.Slots-1, 1)), 1)
	told := int((last-g.From)/step) + 1
	rest := g.Gap
	rest.From, rest.Slots = g.From+source.Slot(told)*step, g.Slots-told
	return NewInlineGap(subject, rest, &transform.Output{Name: g.Output, Fingerprint: g.Spec})
}

// ParseInlineGap reads the headers of an inline gap message: see [Message.Kind].
func ParseInlineGap(h map[string][]string) (InlineGap, error) {
	f := fields{header: h}
	f.version()
	g := InlineGap{
		Gap: Gap{
			Stream: f.text(HeaderStream),
			From:   f.slot(HeaderTime),
			To:     f.slot(HeaderGapTo),
			Reason: f.text(HeaderGap),
			Slots:  f.count(HeaderGapSlots),
		},
		Output: f.text(HeaderOutput),
		Spec:   f.text(HeaderSpec),
	}
	if f.err != nil {
		return InlineGap{}, f.err
	}
	if err := g.validate(); err != nil {
		return InlineGap{}, fmt.Errorf("inline gap: %w", err)
	}
	return g, nil
}
