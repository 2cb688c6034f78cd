package publish

import (
	"strings"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// maxFrames is how many frames a clip has at most that a consumer accepts.
const maxFrames = 1 << 10

// joinClip returns the value of [HeaderClip].
func joinClip(frames []transform.ClipFrame) string {
	texts := make([]string, len(frames))
	for i, f := range frames {
		if texts[i] = f.Slot.String(); f.Missing != "" {
			texts[i] += "!" + string(f.Missing)
		}
	}
	return strings.Join(texts, ",")
}

// clip reads the frames of a clip.
func (f *fields) clip(name string) []transform.ClipFrame {
	text := f.long(name, maxFrames*40)
	if f.err != nil {
		return nil
	}
	parts := strings.Split(text, ",")
	if len(parts) > maxFrames {
		f.fail(name, "has %d frames, more than %d", len(parts), maxFrames)
		return nil
	}
	frames := make([]transform.ClipFrame, len(parts))
	for i, part := range parts {
		at, missing, marked := strings.Cut(part, "!")
		slot, err := source.ParseSlot(at)
		if err != nil || marked && missing != string(transform.MissingRepeat) && missing != string(transform.MissingBlack) {
			f.fail(name, "%.60q is neither the slot of a frame nor one with !repeat or !black", part)
			return nil
		}
		frames[i] = transform.ClipFrame{Slot: slot, Missing: transform.Missing(missing)}
	}
	return frames
}
