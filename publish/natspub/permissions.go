package natspub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const respond = "respond"

// A Permission is one that is missing.
type Permission struct {
	// Verb is "publish", "subscribe" or "respond".
	Verb string
	// Subject is the one that was, or would be, refused; "" for "respond".
	Subject string
	// Deny is the entry among the user's denied subjects that refuses it, ""
	// where no allowed one covers it, or where that is not known.
	Deny string
}

func (p Permission) text() string {
	switch {
	case p.Verb == respond:
		return "may not respond to requests: allow responses (allow_responses: true) in the user's permissions"
	case p.Deny != "":
		return fmt.Sprintf("may not %s to %s: take %q out of what is denied in the user's %s permissions", p.Verb, p.Subject, p.Deny, p.Verb)
	}
	return fmt.Sprintf("may not %s to %s: allow %q in the user's %s permissions", p.Verb, p.Subject, p.Subject, p.Verb)
}

// A PermissionError says what the server does not allow. It is an [ErrRefused].
type PermissionError struct {
	// User is who is not allowed, as the server calls them, "" where that is not
	// known.
	User string
	// Missing is not empty.
	Missing []Permission
}

// Error returns a line for each permission, up to ten.
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

// CheckPermissions asks the server what the user is allowed, and returns a
// [*PermissionError] with all that is missing of needs. Each needed subject must lie
// within one allowed subject, and must not share any subject with a denied one.
//
// Where the server does not tell, for example because asking is itself denied (it
// needs "$SYS.REQ.USER.INFO" and "_INBOX.>"), that is logged and the error is nil:
// [Options.OnDenied] then tells of the first message that is refused. Other errors are those of a broken
// connection, and of ctx. Call it after [Conn.WaitConnected].
func (c *Conn) CheckPermissions(ctx context.Context, needs Needs) error {
	ctx, cancel := context.WithTimeout(ctx, c.control.timeout)
	defer cancel()
	user, err := c.control.askUser(ctx)
	var own *PermissionError
	switch {
	case errors.As(err, &own) && own.Missing[0].Verb == "subscribe" && slices.Contains(needs.Subscribe, inboxes):
		return &PermissionError{Missing: []Permission{{Verb: "subscribe", Subject: inboxes}}}
	case own != nil, errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		c.control.log.Warn("the permissions cannot be checked before something is refused: allow to publish "+
			userInfo+" and to subscribe "+inboxes, "err", err)
		return nil
	case err != nil:
		return fmt.Errorf("NATS permissions: %w", err)
	}
	if missing := user.missing(needs); len(missing) > 0 {
		return &PermissionError{User: user.name(), Missing: missing}
	}
	return nil
}

// askUser asks the server about the user of the connection. Where that is denied,
// the error is a PermissionError with one subject.
func (l *link) askUser(ctx context.Context) (*user, error) {
	inbox := nats.NewInbox()
	sub, err := l.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // it only fails with the connection
	if err := l.nc.PublishRequest(userInfo, inbox, nil); err != nil {
		return nil, err
	}
	// A refusal comes before the answer to the ping of a flush.
	if err := l.nc.FlushWithContext(ctx); err != nil {
		return nil, err
	}
	if p, ok := violation(l.nc.LastError()); ok && isOwn(p) {
		return nil, &PermissionError{Missing: []Permission{p}}
	}
	m, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return nil, err
	}
	if m.Header.Get("Status") == "503" {
		return nil, nats.ErrNoResponders
	}
	var answer struct {
		Data  *user `json:"data"`
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return nil, fmt.Errorf("the answer of %s: %w", userInfo, err)
	case answer.Error != nil:
		return nil, fmt.Errorf("%s: %s", userInfo, answer.Error.Description)
	case answer.Data == nil:
		return nil, fmt.Errorf("%s: the answer is empty", userInfo)
	}
	return answer.Data, nil
}

// user is what the server tells of one: see server.UserInfo of nats-server.
type user struct {
	ID          string `json:"user"`
	Name        string `json:"user_name"`
	Account     string `json:"account"`
	AccountName string `json:"account_name"`
	Permissions *struct {
		Publish   subjects  `json:"publish"`
		Subscribe subjects  `json:"subscribe"`
		Responses *struct{} `json:"responses"`
	} `json:"permissions"` // nil allows all
}

func (u *user) name() string {
	name, account := u.ID, u.Account
	if u.Name != "" {
		name = u.Name
	}
	if u.AccountName != "" {
		account = u.AccountName
	}
	return fmt.Sprintf("%s of account %s", name, account)
}

func (u *user) missing(needs Needs) []Permission {
	p := u.Permissions
	if p == nil {
		return nil
	}
	missing := append(p.Publish.missing("publish", needs.Publish), p.Subscribe.missing("subscribe", needs.Subscribe)...)
	if needs.Respond && p.Responses == nil && len(p.Publish.missing("publish", []string{inboxes})) > 0 {
		missing = append(missing, Permission{Verb: respond})
	}
	return missing
}

// subjects are the rules of one direction. No allowed subject stands for all.
// Entries of the form "subject queue" are for queue groups only.
type subjects struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

func (s subjects) missing(verb string, needs []string) []Permission {
	var missing []Permission
	for _, need := range needs {
		deny := slices.IndexFunc(s.Deny, func(d string) bool { return server.SubjectsCollide(need, d) })
		allowed := len(s.Allow) == 0 || slices.ContainsFunc(s.Allow, func(a string) bool {
			return server.SubjectMatchesFilter(need, a)
		})
		switch {
		case !allowed:
			missing = append(missing, Permission{Verb: verb, Subject: need})
		case deny >= 0:
			missing = append(missing, Permission{Verb: verb, Subject: need, Deny: s.Deny[deny]})
		}
	}
	return missing
}

var violationText = regexp.MustCompile(`(?i)violation for (publish|subscription)[^"]*("(?:[^"\\]|\\.)*")`)

// violation reads the server's complaint of a denied permission.
func violation(err error) (Permission, bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return Permission{}, false
	}
	m := violationText.FindStringSubmatch(err.Error())
	if m == nil {
		return Permission{Verb: "use", Subject: "a subject"}, true
	}
	p := Permission{Verb: "publish", Subject: m[2]}
	if strings.EqualFold(m[1], "subscription") {
		p.Verb = "subscribe"
	}
	if s, err := strconv.Unquote(m[2]); err == nil {
		p.Subject = s
	}
	return p, true
}

// isOwn tells whether the permission is one that only asking for permissions, or an
// answer, needs: whoever asks learns of it otherwise.
func isOwn(p Permission) bool {
	return p.Subject == userInfo || strings.HasPrefix(p.Subject, "_INBOX.")
}
