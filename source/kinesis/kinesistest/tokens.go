package kinesistest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// tokens makes and checks continuation tokens. A token says where to continue, and is
// valid only for the request that it was issued for.
type tokens struct{ key []byte }

// newTokens derives the key from the seed, so that equal servers issue equal tokens.
func newTokens(seed uint64) tokens {
	key := sha256.Sum256(fmt.Append(nil, "continuation tokens ", seed))
	return tokens{key[:]}
}

// issue returns a token that says where to continue the request. Its alphabet is that of
// the service's model.
func (t tokens) issue(request, where string, now time.Time) string {
	text := fmt.Sprintf("%d %s", now.UnixMilli(), where)
	return base64.StdEncoding.EncodeToString(append(t.mac(request, text), text...))
}

// read returns what issue was given.
func (t tokens) read(request, token string) (where string, issued time.Time, err error) {
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(raw) < sha256.Size || !hmac.Equal(raw[:sha256.Size], t.mac(request, string(raw[sha256.Size:]))) {
		return "", issued, invalidToken()
	}
	stamp, where, _ := strings.Cut(string(raw[sha256.Size:]), " ")
	ms, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return "", issued, invalidToken()
	}
	return where, time.UnixMilli(ms), nil
}

// where returns where a token continues the request of a call, unless it has expired.
func (s *Server) where(c *call, request, token string) (string, error) {
	where, issued, err := s.tokens.read(request, token)
	if err != nil {
		return "", err
	}
	if life := s.faultsOf(c).TokenLife; life > 0 && c.record.Time.After(issued.Add(life)) {
		c.record.Fault = "expired-token"
		return "", invalidArgument("The NextToken has expired.")
	}
	return where, nil
}

func invalidToken() *ErrorResponse {
	return invalidArgument("The NextToken is not valid for this request.")
}

func (t tokens) mac(request, text string) []byte {
	h := hmac.New(sha256.New, t.key)
	h.Write(fmt.Appendf(nil, "%d %s%s", len(request), request, text))
	return h.Sum(nil)
}
