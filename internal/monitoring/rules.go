package monitoring

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// durations matches the durations in a file of rules: with a unit, in brackets or after
// "for:", or as a number that a metric in seconds is compared with.
var durations = regexp.MustCompile(`(\[|for: )([0-9]+[smh])|(_seconds > )([0-9]+)`)

// Faster returns a file of alerting rules with all durations divided by a factor, for
// tests. The error says which of them would not be whole seconds.
func Faster(rules string, factor int) (string, error) {
	var bad error
	shorter := func(text string) time.Duration {
		d, err := time.ParseDuration(text)
		if err == nil && (d%time.Duration(factor) != 0 || d/time.Duration(factor)%time.Second != 0) {
			err = fmt.Errorf("%s by %d is not in whole seconds", text, factor)
		}
		if err != nil {
			bad = err
		}
		return d / time.Duration(factor)
	}
	faster := durations.ReplaceAllStringFunc(rules, func(s string) string {
		m := durations.FindStringSubmatch(s)
		if m[1] != "" {
			return m[1] + strconv.Itoa(int(shorter(m[2])/time.Second)) + "s"
		}
		return m[3] + strconv.Itoa(int(shorter(m[4]+"s")/time.Second))
	})
	return faster, bad
}
