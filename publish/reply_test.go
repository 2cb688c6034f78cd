package publish_test

import (
	"testing"

	"github.com/cvfeeder/cvfeeder/publish"
)

func TestCheckReplyPrefix(t *testing.T) {
	for prefix, ok := range map[string]bool{
		"_INBOX": true, "me": true, "$KV": false, "cvf": false, "": false, "a.b": false, "*": false, ">": false, "a b": false,
	} {
		if err := publish.CheckReplyPrefix(prefix); (err == nil) != ok {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

func TestAllowsReply(t *testing.T) {
	for subject, ok := range map[string]bool{
		"_INBOX.a": true, "_INBOX.a.b": true, "_R_.x.1": true, "": false, "_INBOX": false, "_INBOX.": false, "_INBOX..a": false,
		"_INBOX.*": false, "_INBOX.>": false, "_INBOXES.a": false, "$JS.API.STREAM.PURGE.cvfeeder": false, "cvf.t.a.b": false,
		"_INBOX.a b": false, "_INBOX.a\r\nPUB x": false,
	} {
		if got := publish.AllowsReply(publish.DefaultReplyPrefix, subject); got != ok {
			t.Errorf("%q: %v", subject, got)
		}
	}
}
