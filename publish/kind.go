package publish

import "strings"

// A Kind says how to read a message.
type Kind uint8

// The kinds of messages.
const (
	// KindTensor: a whole tensor, for [ParseEnvelope]. A message without any headers of
	// the format counts as one too, so that ParseEnvelope says what is missing.
	KindTensor Kind = iota
	// KindPart: a part of a tensor, for a [Joiner].
	KindPart
	// KindInlineGap: slots without a tensor, for [ParseInlineGap].
	KindInlineGap
	// KindGapEvent: slots without a tensor, on a subject of their own, for [ParseGap].
	KindGapEvent
	// KindEnd: a replay job has nothing more on the subject, for [ParseEnd].
	KindEnd
)

// Kind says how to read m. It does not check whether m is valid.
func (m Message) Kind() Kind {
	if strings.HasPrefix(m.Subject, GapPrefix) {
		return KindGapEvent
	}
	if _, ok := m.Header[HeaderEnd]; ok {
		return KindEnd
	}
	if _, ok := m.Header[HeaderGap]; ok {
		return KindInlineGap
	}
	if _, ok := m.Header[HeaderChunk]; ok {
		return KindPart
	}
	return KindTensor
}
