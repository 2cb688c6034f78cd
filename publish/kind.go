package publish

import "strings"

// A Kind says how a message is to be read.
type Kind uint8

// The kinds of messages.
const (
	// KindTensor: a whole tensor, for [ParseEnvelope]. Also what a message without
	// any headers of ours is taken for: ParseEnvelope then tells what is missing.
	KindTensor Kind = iota
	// KindPart: a part of a tensor, for a [Joiner].
	KindPart
	// KindInlineGap: slots without a tensor, for [ParseInlineGap].
	KindInlineGap
	// KindGapEvent: the same on a subject of its own, for [ParseGap].
	KindGapEvent
)

// Kind tells how m is to be read. It says nothing about whether m is sound.
func (m Message) Kind() Kind {
	if strings.HasPrefix(m.Subject, GapPrefix) {
		return KindGapEvent
	}
	if _, gap := m.Header[HeaderGap]; gap {
		return KindInlineGap
	}
	if _, part := m.Header[HeaderChunk]; part {
		return KindPart
	}
	return KindTensor
}
