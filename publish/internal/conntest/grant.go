package conntest

import (
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// Grant returns the permissions that allow needs and nothing else.
func Grant(n preflight.Needs) *server.Permissions {
	nothing := "nothing.at.all" // as no entry would allow everything
	p := &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: append(slices.Clone(n.Publish), nothing)},
		Subscribe: &server.SubjectPermission{Allow: append(slices.Clone(n.Subscribe), nothing)},
	}
	if n.Respond {
		p.Response = &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
	}
	return p
}

// NeedsCheck is what asking for permissions needs itself.
func NeedsCheck() preflight.Needs {
	return preflight.Needs{Publish: []string{"$SYS.REQ.USER.INFO"}, Subscribe: []string{"_INBOX.>"}}
}
