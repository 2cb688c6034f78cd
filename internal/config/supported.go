package config

import (
	"fmt"
	"slices"
)

// notYet lists the keys of the file whose work is still to be done: the values
// that are refused, or every value but the default where none is listed. A key
// becomes supported by deleting its line.
var notYet = map[string][]string{
	"nats.credentials":         nil,
	"nats.tls.ca":              nil,
	"nats.tls.cert":            nil,
	"nats.tls.key":             nil,
	"http.token":               nil,
	"cluster.group":            nil,
	"cluster.lease":            nil,
	"price.per_million_images": nil,
}

// unsupported says why the key may not be changed from def to value, or returns
// nil.
func unsupported(pattern string, value, def any) error {
	refused, listed := notYet[pattern]
	switch {
	case !listed || value == def:
		return nil
	case refused == nil:
		return fmt.Errorf("not supported yet; leave it out, or at its default of %s", quote(def))
	case slices.Contains(refused, fmt.Sprint(value)):
		return fmt.Errorf("%s is not supported yet; the default is %s", quote(value), quote(def))
	}
	return nil
}

// quote shows a value as it would be written in the file.
func quote(v any) string {
	if s := fmt.Sprint(v); s != "" {
		return s
	}
	return `""`
}
