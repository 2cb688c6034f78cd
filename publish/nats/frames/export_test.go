package frames

import "encoding/json"

// ParseRangeRequest reads a request for a range.
var ParseRangeRequest = parseRangeRequest

// WireOf returns a request as it is forwarded.
func WireOf(r RangeRequest) []byte {
	data, err := json.Marshal(r.wire())
	if err != nil {
		panic(err)
	}
	return data
}
