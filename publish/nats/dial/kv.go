package dial

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// IsConflict tells whether a write failed because somebody else has written to the key
// or subject since its last known revision.
func IsConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// IsGone tells whether a write failed because nothing stores what is written: the stream or
// bucket was deleted, or JetStream is away.
func IsGone(err error) bool {
	return errors.Is(err, jetstream.ErrNoStreamResponse) || IsMissing(err)
}

// EncodeKey returns a key in the characters that a key-value bucket allows. Any other
// byte, and the equals sign, becomes an equals sign and two hexadecimal digits.
func EncodeKey(key string) string {
	var b strings.Builder
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// DecodeKey is the inverse of [EncodeKey].
func DecodeKey(key string) string {
	var b strings.Builder
	for i := 0; i < len(key); i++ {
		if key[i] == '=' && i+2 < len(key) {
			if c, err := strconv.ParseUint(key[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(key[i])
	}
	return b.String()
}
