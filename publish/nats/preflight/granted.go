package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// CheckPermissions asks the server what the user is allowed, and returns a
// [*dial.PermissionError] with all that is missing of needs. Each needed subject must
// lie within one allowed subject, and must not share any subject with a denied one.
//
// If the server does not say, for example because asking is itself denied (it needs
// "$SYS.REQ.USER.INFO" and "_INBOX.>"), that is logged and the error is nil: then
// [dial.Options.OnDenied] reports the first message that is refused. Other errors are
// ctx's, or say that the connection broke. Call it after [dial.Conn.WaitConnected].
func CheckPermissions(ctx context.Context, conn *dial.Conn, needs Needs) error {
	user, err := AskUser(ctx, conn.Control())
	if err != nil {
		return unanswered(err, needs, conn.Control().Log())
	}
	return user.Check(needs)
}

// unanswered returns what the error of [AskUser] means for the needs.
func unanswered(err error, needs Needs, log *slog.Logger) error {
	var own *dial.PermissionError
	switch {
	case errors.As(err, &own) && own.Missing[0].Verb == dial.VerbSubscribe && slices.Contains(needs.Subscribe, dial.InboxSubjects):
		return &dial.PermissionError{Missing: []dial.Permission{{Verb: dial.VerbSubscribe, Subject: dial.InboxSubjects}}}
	case own != nil, errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		log.Warn("the permissions cannot be checked before something is refused: allow to publish "+
			dial.UserInfoSubject+" and to subscribe "+dial.InboxSubjects, "err", err)
		return nil //nolint:nilerr // it is logged
	}
	return fmt.Errorf("NATS permissions: %w", err)
}

// A User is a user of a NATS server, with its permissions.
type User struct{ info userInfo }

// Check returns a [*dial.PermissionError] with all needs that the user is not allowed, or
// nil, as [CheckPermissions] does.
func (u *User) Check(needs Needs) error {
	if missing := u.info.missing(needs); len(missing) > 0 {
		return &dial.PermissionError{User: u.info.name(), Missing: missing}
	}
	return nil
}

// AskUser asks the server about the user of a connection. If that is denied, the error is
// a [*dial.PermissionError] with one subject.
func AskUser(ctx context.Context, on *dial.Connection) (*User, error) {
	ctx, cancel := context.WithTimeout(ctx, on.WriteTimeout())
	defer cancel()
	nc := on.Client()
	inbox := nats.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only with the connection
	if err := nc.PublishRequest(dial.UserInfoSubject, inbox, nil); err != nil {
		return nil, err
	}
	// A refusal arrives before the answer to the flush.
	if err := nc.FlushWithContext(ctx); err != nil {
		return nil, err
	}
	if p, ok := dial.ParseViolation(nc.LastError()); ok && p.OfRequests() {
		return nil, &dial.PermissionError{Missing: []dial.Permission{p}}
	}
	m, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return nil, err
	}
	if m.Header.Get("Status") == "503" {
		return nil, nats.ErrNoResponders
	}
	var answer struct {
		Data  *userInfo `json:"data"`
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return nil, fmt.Errorf("the answer of %s: %w", dial.UserInfoSubject, err)
	case answer.Error != nil:
		return nil, fmt.Errorf("%s: %s", dial.UserInfoSubject, answer.Error.Description)
	case answer.Data == nil:
		return nil, fmt.Errorf("%s: the answer is empty", dial.UserInfoSubject)
	}
	return &User{*answer.Data}, nil
}

// userInfo is what the server says about a user: see server.UserInfo of nats-server.
type userInfo struct {
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

func (u userInfo) name() string {
	name, account := u.ID, u.Account
	if u.Name != "" {
		name = u.Name
	}
	if u.AccountName != "" {
		account = u.AccountName
	}
	return fmt.Sprintf("%s of account %s", name, account)
}

func (u userInfo) missing(needs Needs) []dial.Permission {
	p := u.Permissions
	if p == nil {
		return nil
	}
	missing := append(p.Publish.missing(dial.VerbPublish, needs.Publish), p.Subscribe.missing(dial.VerbSubscribe, needs.Subscribe)...)
	if needs.Respond && p.Responses == nil && len(p.Publish.missing(dial.VerbPublish, []string{dial.InboxSubjects})) > 0 {
		missing = append(missing, dial.Permission{Verb: dial.VerbRespond})
	}
	return missing
}

// subjects are the rules for one direction. If no subject is allowed, all are. Entries of
// the form "subject queue" are for queue groups only.
type subjects struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

func (s subjects) missing(verb string, needs []string) []dial.Permission {
	var missing []dial.Permission
	for _, need := range needs {
		deny := slices.IndexFunc(s.Deny, func(d string) bool { return mayCollide(need, d) })
		allowed := len(s.Allow) == 0 || slices.ContainsFunc(s.Allow, func(a string) bool {
			return isWithin(need, a)
		})
		switch {
		case !allowed:
			missing = append(missing, dial.Permission{Verb: verb, Subject: need})
		case deny >= 0:
			missing = append(missing, dial.Permission{Verb: verb, Subject: need, Deny: s.Deny[deny]})
		}
	}
	return missing
}
