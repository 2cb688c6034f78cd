package dial

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish"
)

// The values of [Permission.Verb].
const (
	VerbPublish   = "publish"
	VerbSubscribe = "subscribe"
	VerbRespond   = "respond"
)

// Subjects that a request for the user's permissions, and the answers to any request,
// need.
const (
	UserInfoSubject = "$SYS.REQ.USER.INFO"
	InboxSubjects   = "_INBOX.>"
)

// A Permission is a permission that is missing.
type Permission struct {
	// Verb is what is not allowed: VerbPublish, VerbSubscribe or VerbRespond.
	Verb string
	// Subject is the subject that was, or would be, refused; "" for VerbRespond.
	Subject string
	// Deny is the entry among the user's denied subjects that refuses the subject. It
	// is "" if no allowed subject covers it, or if the reason is not known.
	Deny string
}

func (p Permission) text() string {
	switch {
	case p.Verb == VerbRespond:
		return "may not respond to requests: allow responses (allow_responses: true) in the user's permissions"
	case p.Deny != "":
		return fmt.Sprintf("may not %s to %s: take %q out of what is denied in the user's %s permissions", p.Verb, p.Subject, p.Deny, p.Verb)
	}
	return fmt.Sprintf("may not %s to %s: allow %q in the user's %s permissions", p.Verb, p.Subject, p.Subject, p.Verb)
}

// OfRequests tells whether only requests and their answers need the permission. Whoever
// makes a request learns in another way that it was denied.
func (p Permission) OfRequests() bool {
	return p.Subject == UserInfoSubject || strings.HasPrefix(p.Subject, "_INBOX.")
}

// OfMemory tells whether only a subscription to places in memory needs the permission. Whoever
// may not have that gets payloads.
func (p Permission) OfMemory() bool {
	return p.Verb == VerbSubscribe && strings.HasPrefix(p.Subject, publish.MemoryPrefix)
}

// A PermissionError says what the server does not allow. It is an [ErrRefused].
type PermissionError struct {
	// User is the server's name for the user, "" if it is not known.
	User string
	// Missing has at least one permission.
	Missing []Permission
}

// Error returns one line for each permission, for at most ten.
func (e *PermissionError) Error() string {
	const most = 10
	who := "the NATS user"
	if e.User != "" {
		who = "NATS user " + e.User
	}
	var lines []string
	for _, p := range e.Missing[:min(len(e.Missing), most)] {
		lines = append(lines, who+" "+p.text())
	}
	if more := len(e.Missing) - most; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more subjects", more))
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns [ErrRefused].
func (e *PermissionError) Unwrap() error { return ErrRefused }

var violationText = regexp.MustCompile(`(?i)violation for (publish|subscription)[^"]*("(?:[^"\\]|\\.)*")`)

// ParseViolation returns the permission that the server has denied according to err, and
// false if err says nothing of that kind.
func ParseViolation(err error) (Permission, bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return Permission{}, false
	}
	m := violationText.FindStringSubmatch(err.Error())
	if m == nil {
		return Permission{Verb: "use", Subject: "a subject"}, true
	}
	p := Permission{Verb: VerbPublish, Subject: m[2]}
	if strings.EqualFold(m[1], "subscription") {
		p.Verb = VerbSubscribe
	}
	if s, err := strconv.Unquote(m[2]); err == nil {
		p.Subject = s
	}
	return p, true
}
