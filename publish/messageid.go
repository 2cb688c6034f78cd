package publish

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/cvfeeder/cvfeeder/source"
)

// MessageID returns the identity of a tensor: the same on every attempt and in
// every process, and different for any two tensors that differ in stream, slot,
// output or fingerprint. The parts are path-escaped and joined with slashes, with
// the slot in milliseconds since the Unix epoch.
func MessageID(stream string, slot source.Slot, output, fingerprint string) string {
	return strings.Join([]string{
		url.PathEscape(stream),
		strconv.FormatInt(int64(slot), 10),
		url.PathEscape(output),
		url.PathEscape(fingerprint),
	}, "/")
}
