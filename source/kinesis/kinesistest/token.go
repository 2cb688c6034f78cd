package kinesistest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
)

// tokens makes and checks the continuation tokens: the number of entries already
// given, bound to the request that they were given for.
type tokens struct{ key []byte }

// issue returns the token that continues the request at entry offset.
func (t tokens) issue(request string, offset int) string {
	raw := binary.BigEndian.AppendUint64(nil, uint64(offset))
	return base64.URLEncoding.EncodeToString(append(raw, t.mac(request, raw)...))
}

// offset returns where the token says to go on; 0 for no token.
func (t tokens) offset(request, token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	raw, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(raw) != 8+sha256.Size || !hmac.Equal(raw[8:], t.mac(request, raw[:8])) {
		return 0, invalidArgument("The NextToken is not valid for this request.")
	}
	offset := binary.BigEndian.Uint64(raw)
	if offset > math.MaxInt {
		return 0, invalidArgument("The NextToken is not valid for this request.")
	}
	return int(offset), nil
}

func (t tokens) mac(request string, offset []byte) []byte {
	h := hmac.New(sha256.New, t.key)
	h.Write(offset)
	h.Write([]byte(request))
	return h.Sum(nil)
}
