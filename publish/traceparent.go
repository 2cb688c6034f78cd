package publish

import "strings"

// traceparent returns the header's value if it is valid in version 00 of the W3C Trace
// Context, and "" otherwise: a bad trace is no reason to reject a tensor.
func traceparent(h map[string][]string) string {
	values := h[HeaderTraceparent]
	if len(values) != 1 {
		return ""
	}
	parts := strings.Split(values[0], "-")
	if len(parts) != 4 || parts[0] != "00" ||
		!isHex(parts[1], 32) || !isHex(parts[2], 16) || !isHex(parts[3], 2) ||
		strings.Trim(parts[1], "0") == "" || strings.Trim(parts[2], "0") == "" {
		return ""
	}
	return values[0]
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}
