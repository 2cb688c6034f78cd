package publish

import (
	"fmt"
	"slices"
	"strings"
)

// DefaultReplyPrefix is the first token of the inboxes of NATS clients.
const DefaultReplyPrefix = "_INBOX"

// accountReply is the first token of the subjects by which a server returns an answer to
// another account.
const accountReply = "_R_"

// AllowsReply tells whether a request may be answered on a subject: one whose first token is
// prefix, or the server's own for answers to another account, without a wildcard. The sender of a request chooses that subject, but
// the answer is published with the permissions of this process: with the reply
// "$JS.API.STREAM.PURGE.cvfeeder", an answer would empty the stream.
func AllowsReply(prefix, subject string) bool {
	tokens := strings.Split(subject, ".")
	return len(tokens) > 1 && (tokens[0] == prefix || tokens[0] == accountReply) && !slices.ContainsFunc(tokens, unfitToken)
}

// unfitToken tells whether a token of a subject is a wildcard or not valid at all.
func unfitToken(token string) bool {
	return token == "" || token == "*" || token == ">" || strings.ContainsAny(token, " \t\r\n\x00")
}

// CheckReplyPrefix returns an error unless requests can be answered below a prefix: it has
// to be one token that belongs to neither the server nor cvfeeder.
func CheckReplyPrefix(prefix string) error {
	switch {
	case unfitToken(prefix) || strings.ContainsAny(prefix, ".*>"):
		return fmt.Errorf("%q is not one token of a subject, like _INBOX", prefix)
	case strings.HasPrefix(prefix, "$"):
		return fmt.Errorf("%q cannot be a prefix of replies: subjects that begin with $ belong to the NATS server", prefix)
	case prefix == "cvf":
		return fmt.Errorf("%q cannot be a prefix of replies: subjects that begin with cvf. belong to cvfeeder", prefix)
	}
	return nil
}
