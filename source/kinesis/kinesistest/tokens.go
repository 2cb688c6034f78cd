package kinesistest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// tokens makes and checks continuation tokens. A token says where to continue, and is
// valid only for the request that it was issued for.
type tokens struct{ key []byte }

// newTokens derives the key from the seed, so that equal servers issue equal tokens.
func newTokens(seed uint64) tokens {
	key := sha256.Sum256(fmt.Append(nil, "continuation tokens ", seed))
	return tokens{key[:]}
}

// issue returns a token that says where to continue the request.
func (t tokens) issue(request, where string) string {
	return base64.URLEncoding.EncodeToString(append(t.mac(request, where), where...))
}

// where returns the text that issue was given.
func (t tokens) where(request, token string) (string, error) {
	raw, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(raw) < sha256.Size || !hmac.Equal(raw[:sha256.Size], t.mac(request, string(raw[sha256.Size:]))) {
		return "", invalidToken()
	}
	return string(raw[sha256.Size:]), nil
}

func invalidToken() *ErrorResponse {
	return invalidArgument("The NextToken is not valid for this request.")
}

func (t tokens) mac(request, where string) []byte {
	h := hmac.New(sha256.New, t.key)
	h.Write(fmt.Appendf(nil, "%d %s%s", len(request), request, where))
	return h.Sum(nil)
}
