package natstest

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// StartUsers starts a server with these users, whose passwords are "pw", and one
// who may all, "admin". It returns the URL of a user.
func StartUsers(t *testing.T, o *server.Options, users map[string]*server.Permissions) (url func(user string) string) {
	t.Helper()
	account := server.NewAccount("CAMS")
	o.Accounts = []*server.Account{account}
	o.Users = []*server.User{{Username: "admin", Password: "pw", Account: account}}
	for name, p := range users {
		o.Users = append(o.Users, &server.User{Username: name, Password: "pw", Permissions: p, Account: account})
	}
	if o.JetStream {
		o.StoreDir = t.TempDir()
	}
	srv := Start(t, o)
	if o.JetStream {
		if err := Must[*server.Account](t)(srv.LookupAccount(account.Name)).EnableJetStream(nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	base := srv.ClientURL()
	return func(user string) string { return strings.Replace(base, "nats://", "nats://"+user+":pw@", 1) }
}
