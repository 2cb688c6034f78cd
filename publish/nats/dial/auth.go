package dial

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
)

// TLS holds the paths of PEM files. They are read again for each connection, so that
// certificates can be renewed while the program runs. If any is set, servers without
// TLS are refused.
type TLS struct {
	// CA is the file of the authorities to trust instead of the system's. Default: the
	// system's.
	CA string
	// Cert and Key are the client's certificate and its key, both or neither. Default:
	// none. Servers that verify their clients refuse a client without them.
	Cert, Key string
}

// Check returns an error if the URL or one of the files is wrong. [Dial] and [Connect]
// check this, too.
func (o Options) Check() error {
	o = o.withDefaults()
	if _, err := o.servers(); err != nil && o.Server == nil {
		return err
	}
	return o.authenticate(&nats.Options{})
}

// authenticate sets the client's credentials, and which servers it accepts.
func (o Options) authenticate(opts *nats.Options) error {
	if o.Server != nil {
		if o.Credentials != "" || o.TLS != (TLS{}) {
			return errors.New("NATS: a server in this process takes neither credentials nor TLS: leave them out")
		}
		return nil
	}
	if err := o.credentials(opts); err != nil {
		return err
	}
	return o.TLS.apply(opts)
}

// credentials makes the client read the file for each connection. Only the kind of the
// file, and the public half of an nkey, are fixed by the first reading.
func (o Options) credentials(opts *nats.Options) error {
	if o.Credentials == "" {
		return nil
	}
	servers, _ := o.servers()
	for _, s := range servers {
		if u, err := url.Parse(s); err == nil && u.User != nil {
			return fmt.Errorf("NATS URL %s: names a user, and there is a credentials file, too: use one of them", redact(s))
		}
	}
	data, err := readFile("NATS credentials", o.Credentials)
	if err != nil {
		return err
	}
	defer clear(data)
	if !bytes.Contains(data, []byte("BEGIN NATS USER JWT")) {
		nkey, err := nats.NkeyOptionFromSeed(o.Credentials)
		if err != nil {
			return fmt.Errorf("NATS credentials %s: neither a .creds file (a user's JWT and its key) nor the seed of a user's nkey (SU…)", o.Credentials)
		}
		return nkey(opts)
	}
	if err := nats.UserCredentials(o.Credentials)(opts); err != nil {
		return fmt.Errorf("NATS credentials %s: %w", o.Credentials, err)
	}
	if _, err := opts.UserJWT(); err != nil {
		return fmt.Errorf("NATS credentials %s: the user's JWT in it is damaged: %w", o.Credentials, err)
	}
	if _, err := opts.SignatureCB([]byte("nonce")); err != nil {
		return fmt.Errorf("NATS credentials %s: there is no user's key (SU…) behind the JWT, or it is damaged", o.Credentials)
	}
	return nil
}

func (t TLS) apply(opts *nats.Options) error {
	if t.CA != "" {
		if _, err := readFile("NATS CA", t.CA); err != nil {
			return err
		}
		if err := nats.RootCAs(t.CA)(opts); err != nil {
			return fmt.Errorf("NATS CA %s: no certificate in it that can be read: it must be a PEM file", t.CA)
		}
	}
	switch {
	case t.Cert == "" && t.Key == "":
		return nil
	case t.Key == "":
		return fmt.Errorf("NATS certificate %s: its key is missing: name both files, or neither", t.Cert)
	case t.Cert == "":
		return fmt.Errorf("NATS key %s: its certificate is missing: name both files, or neither", t.Key)
	}
	if _, err := readFile("NATS certificate", t.Cert); err != nil {
		return err
	}
	if _, err := readFile("NATS key", t.Key); err != nil {
		return err
	}
	if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
		return fmt.Errorf("NATS certificate %s and key %s: %w", t.Cert, t.Key, err)
	}
	return nats.ClientCert(t.Cert, t.Key)(opts)
}

// readFile reads a small file. Its errors are for users.
func readFile(what, path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	var cause *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s %s: there is no such file", what, path)
	case errors.As(err, &cause):
		return nil, fmt.Errorf("%s %s: cannot be read: %w", what, path, cause.Err)
	case err != nil:
		return nil, fmt.Errorf("%s %s: cannot be read: %w", what, path, err)
	}
	return data, nil
}

// refusal returns an error that wraps ErrRefused and says what to do, if err is one that
// a retry does not fix. Otherwise it returns nil.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	why := func(what, todo string) error { return fmt.Errorf("%w: %s: %w: %s", ErrRefused, what, err, todo) }
	var remote *net.OpError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return why("they have expired", "renew the credentials")
	case errors.Is(err, nats.ErrAuthRevoked):
		return why("they are revoked", "ask for new credentials")
	case errors.Is(err, nats.ErrAuthorization):
		return why("unknown user, or wrong secret", "check the credentials file, or the user and password in the URL")
	case errors.Is(err, nats.ErrNkeysNotSupported):
		return why("the server knows no nkeys", "use other credentials, or add the nkey to the server's users")
	case errors.Is(err, nats.ErrSecureConnWanted):
		return why("the server has no TLS", "leave the TLS files out, or turn TLS on in the server")
	case errors.As(err, &cert):
		return why("the server's certificate is not trusted", "name the CA that signed it (tls.ca), and connect to a host that it is for")
	case errors.As(err, &remote) && remote.Op == "remote error":
		if strings.Contains(err.Error(), "certificate required") {
			return why("the server wants a client certificate", "name one that its CA has signed, and its key (tls.cert and tls.key)")
		}
		return why("the server breaks off TLS", "check that its CA has signed the client certificate (tls.cert), which must not have expired")
	}
	return nil
}
