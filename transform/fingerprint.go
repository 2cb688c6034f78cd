package transform

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Fingerprint returns 16 hexadecimal characters that stand for the spec and the
// versions of the libraries that do the work (engine, one line). Tensors with the
// same fingerprint were made in the same way: of the same picture they are the same. A
// new release has another fingerprint only if it makes other tensors.
func (s *Spec) Fingerprint(engine string) string {
	return hashed(s.canonical(engine))
}

// hashed returns the characters that stand for a text.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// canonical returns the text that is hashed. Raise the number in its first line when
// our own arithmetic changes.
func (s *Spec) canonical(engine string) string {
	var b strings.Builder
	line := func(key, value string) { fmt.Fprintf(&b, "%s=%s\n", key, value) }
	line("spec", "1")
	for _, k := range keys() {
		text := k.text
		if k.hashed != nil {
			text = k.hashed
		}
		if value := text(s); value != "" || !k.optional {
			line(k.name, value)
		}
	}
	line("engine", engine)
	return b.String()
}

// decodeVersion returns how pictures are decoded. The number belongs to the scales that
// pictures are decoded at: the second set has 3/8.
func (s *Spec) decodeVersion() string {
	if s.Decode == DecodeFast {
		return string(s.Decode) + " 2"
	}
	return string(s.Decode)
}
