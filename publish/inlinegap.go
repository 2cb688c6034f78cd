package publish

import (
	"fmt"
	"strconv"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// An InlineGap is a gap that is announced in order among the tensors of one output.
type InlineGap struct {
	Gap
	// Output and Spec are those of the missing tensors.
	Output, Spec string
}

// NewInlineGap returns the message that takes the place of the tensors of g on
// their subject. Its payload is empty. It has the identity of the first missing
// tensor: if a tensor and a gap are published for the same slot, the broker keeps only
// the one that came first.
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

// Without returns the message that announces the rest of g, after the slot last, which
// must be one of the gap but not its last.
func (g InlineGap) Without(last source.Slot, subject string) Message {
	step := max((g.To-g.From)/source.Slot(max(g.Slots-1, 1)), 1)
	removed := int((last-g.From)/step) + 1
	rest := g.Gap
	rest.From, rest.Slots = g.From+source.Slot(removed)*step, g.Slots-removed
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
