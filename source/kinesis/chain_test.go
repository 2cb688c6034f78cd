package kinesis_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// cleanChain hides the machine's own AWS configuration, and returns the home directory.
func cleanChain(t *testing.T) (home string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") && name != "AWS_CA_BUNDLE" {
			t.Setenv(name, "")
		}
	}
	home = t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return home
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// An issuer answers with the fake's credentials as STS, SSO, EC2 and ECS do.
type issuer struct {
	*httptest.Server
	asked atomic.Int64
	// throttled is how many requests are refused first.
	throttled atomic.Int64
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	g := &issuer{}
	g.Server = httptest.NewServer(http.HandlerFunc(g.serve))
	t.Cleanup(g.Close)
	return g
}

func (g *issuer) serve(w http.ResponseWriter, r *http.Request) {
	g.asked.Add(1)
	if g.throttled.Add(-1) >= 0 {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`)
		return
	}
	expires := time.Now().Add(time.Hour).UTC()
	key, secret := kinesistest.AccessKey, kinesistest.SecretKey
	switch _ = r.ParseForm(); {
	case r.URL.Path == "/latest/api/token":
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = io.WriteString(w, "token")
	case strings.HasSuffix(r.URL.Path, "/security-credentials/"):
		_, _ = io.WriteString(w, "camera-role")
	case strings.HasSuffix(r.URL.Path, "/security-credentials/camera-role"), r.URL.Path == "/ecs":
		_, _ = fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":%q,"SecretAccessKey":%q,"Token":"t","Expiration":%q}`,
			key, secret, expires.Format(time.RFC3339))
	case r.URL.Path == "/federation/credentials":
		_, _ = fmt.Fprintf(w, `{"roleCredentials":{"accessKeyId":%q,"secretAccessKey":%q,"sessionToken":"t","expiration":%d}}`,
			key, secret, expires.UnixMilli())
	case strings.HasPrefix(r.Form.Get("Action"), "AssumeRole"):
		action := r.Form.Get("Action")
		_, _ = fmt.Fprintf(w, `<%[1]sResponse><%[1]sResult><Credentials><AccessKeyId>%[2]s</AccessKeyId><SecretAccessKey>%[3]s</SecretAccessKey>`+
			`<SessionToken>t</SessionToken><Expiration>%[4]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
			action, key, secret, expires.Format(time.RFC3339))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// TestChain reads a stream with credentials from each of the places where users keep them.
func TestChain(t *testing.T) {
	for name, set := range map[string]func(t *testing.T, home, url string){
		"environment": func(t *testing.T, _, _ string) {
			t.Setenv("AWS_ACCESS_KEY_ID", kinesistest.AccessKey)
			t.Setenv("AWS_SECRET_ACCESS_KEY", kinesistest.SecretKey)
		},
		"profile": func(t *testing.T, home, _ string) {
			write(t, filepath.Join(home, "credentials"), "[cams]\naws_access_key_id = test\naws_secret_access_key = test\n")
			t.Setenv("AWS_PROFILE", "cams")
		},
		"assumed role": func(t *testing.T, home, url string) {
			write(t, filepath.Join(home, "credentials"), "[base]\naws_access_key_id = other\naws_secret_access_key = other\n")
			write(t, filepath.Join(home, "config"), "[profile cams]\nrole_arn = arn:aws:iam::123456789012:role/cams\nsource_profile = base\n")
			t.Setenv("AWS_PROFILE", "cams")
			t.Setenv("AWS_ENDPOINT_URL_STS", url)
		},
		"web identity": func(t *testing.T, home, url string) {
			write(t, filepath.Join(home, "token"), "a.b.c")
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", filepath.Join(home, "token"))
			t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/cams")
			t.Setenv("AWS_ENDPOINT_URL_STS", url)
		},
		"SSO": func(t *testing.T, home, url string) {
			const session = "company"
			write(t, filepath.Join(home, "config"), "[profile cams]\nsso_session = "+session+
				"\nsso_account_id = 123456789012\nsso_role_name = cams\n[sso-session "+session+
				"]\nsso_start_url = https://company.awsapps.com/start\nsso_region = us-east-1\n")
			sum := sha1.Sum([]byte(session))
			write(t, filepath.Join(home, ".aws/sso/cache", hex.EncodeToString(sum[:])+".json"),
				fmt.Sprintf(`{"accessToken":"a","expiresAt":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
			t.Setenv("AWS_PROFILE", "cams")
			t.Setenv("AWS_ENDPOINT_URL_SSO", url)
		},
		"EC2": func(t *testing.T, _, url string) {
			t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
		},
		"container": func(t *testing.T, _, url string) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url+"/ecs")
		},
	} {
		t.Run(name, func(t *testing.T) {
			home, g := cleanChain(t), newIssuer(t)
			set(t, home, g.URL)
			s := chainClient(t)
			if err := s.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, _, err := collect(t, s, past(11)); err != nil {
				t.Error(err)
			}
			if local := name == "environment" || name == "profile"; local != (g.asked.Load() == 0) {
				t.Errorf("the issuer was asked %d times", g.asked.Load())
			}
		})
	}
}

// chainClient returns a stream of a fake over HTTP, with credentials from the chain.
func chainClient(t *testing.T) *kinesis.Stream {
	t.Helper()
	srv, err := kinesistest.New(kinesistest.Options{Scene: plain{}})
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := srv.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = endpoint.Close() })
	c, err := kinesis.New(t.Context(), kinesis.Options{Region: kinesistest.Region, Endpoint: endpoint.URL, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c.Stream(kinesis.StreamOptions{Name: "cam-1"})
}

func TestNoCredentials(t *testing.T) {
	cleanChain(t)
	c, err := kinesis.New(t.Context(), kinesis.Options{Region: kinesistest.Region})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Credentials(t.Context()); !errors.Is(err, source.ErrRefused) {
		t.Errorf("error %v", err)
	}
}

// TestCredentialsAfterTheEnd: nothing is refused when a run ends while its credentials are
// looked up; what ended it is the error.
func TestCredentialsAfterTheEnd(t *testing.T) {
	c, err := kinesis.New(t.Context(), kinesis.Options{Region: "us-east-1", AccessKey: "test", Secret: "test"})
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("the cause")
	ctx, end := context.WithCancelCause(t.Context())
	end(cause)
	if _, err := c.Credentials(ctx); err != nil && !errors.Is(err, cause) {
		t.Errorf("nothing is refused, but %v", err)
	}
}

// TestThrottledSTS: a time during which credentials cannot be obtained ends nothing.
func TestThrottledSTS(t *testing.T) {
	home, g := cleanChain(t), newIssuer(t)
	write(t, filepath.Join(home, "token"), "a.b.c")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", filepath.Join(home, "token"))
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/cams")
	t.Setenv("AWS_ENDPOINT_URL_STS", g.URL)
	g.throttled.Store(1000)
	s := chainClient(t)
	if err := s.Check(t.Context()); err == nil || errors.Is(err, source.ErrRefused) || !strings.Contains(err.Error(), "Throttling") {
		t.Errorf("while STS throttles: %v", err)
	}
	g.throttled.Store(0)
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("when STS is well again: %v", err)
	}
}

// TestABadProvider: a provider of credentials that answers with text, or not at all, refuses
// nothing, and is asked again.
func TestABadProvider(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for 20 s until a provider has not answered")
	}
	for name, hangs := range map[string]bool{"500 with text": false, "no answer": true} {
		t.Run(name, func(t *testing.T) {
			cleanChain(t)
			ctx, cancel := context.WithCancel(t.Context())
			var well atomic.Bool
			g := newIssuer(t)
			provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if well.Load() {
					g.serve(w, r)
					return
				}
				if hangs {
					select {
					case <-ctx.Done():
					case <-r.Context().Done():
					}
				}
				http.Error(w, "try later", http.StatusInternalServerError)
			}))
			defer provider.Close()
			defer cancel()
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", provider.URL+"/ecs")
			c, err := kinesis.New(t.Context(), kinesis.Options{Region: kinesistest.Region})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			_, err = c.Credentials(t.Context())
			if err == nil || errors.Is(err, source.ErrRefused) || hangs && !strings.Contains(err.Error(), "has not answered within 10s") {
				t.Errorf("error %v", err)
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("it took %v", took)
			}
			well.Store(true)
			cancel()
			if _, err = c.Credentials(t.Context()); err != nil {
				_, err = c.Credentials(t.Context()) // the first try may have joined the last failure
			}
			if err != nil {
				t.Errorf("when the provider is well again: %v", err)
			}
		})
	}
}

// transport answers requests with a function.
type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// served has a fake answer a request, whatever host it is for.
func served(h http.Handler, r *http.Request) *http.Response {
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	if r.URL.Scheme == "https" {
		r.TLS = &tls.ConnectionState{}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// TestRegions: one client reads streams of several regions, each with its own endpoints. If
// configured to, it uses the FIPS endpoints of the control plane, but always the data
// endpoint that the service returns.
func TestRegions(t *testing.T) {
	for name, fips := range map[string]string{"regions": "", "with FIPS": "-fips"} {
		t.Run(name, func(t *testing.T) {
			cleanChain(t)
			if fips != "" {
				t.Setenv("AWS_USE_FIPS_ENDPOINT", "true")
			}
			fakes := map[string]*kinesistest.Server{}
			for _, region := range []string{"us-east-1", "eu-west-1"} {
				var err error
				if fakes[region], err = kinesistest.New(kinesistest.Options{Scene: plain{}, Region: region}); err != nil {
					t.Fatal(err)
				}
			}
			var hosts []string
			c, err := kinesis.New(t.Context(), kinesis.Options{
				Region: "us-east-1", AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
				HTTPClient: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
					hosts = append(hosts, r.URL.Host)
					region := "us-east-1"
					if strings.Contains(r.URL.Host, "eu-west-1") {
						region = "eu-west-1"
					}
					return served(fakes[region], r), nil
				})},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, opts := range []kinesis.StreamOptions{{Name: "cam-1"}, {Name: "cam-2", Region: "eu-west-1"}} {
				if _, _, err := collect(t, c.Stream(opts), past(11)); err != nil {
					t.Errorf("%s: %v", opts.Name, err)
				}
			}
			for _, want := range []string{"us-east-1", "eu-west-1"} {
				if host := "kinesisvideo" + fips + "." + want + ".amazonaws.com"; !slices.Contains(hosts, host) {
					t.Errorf("%s was not asked, but %v", host, hosts)
				}
			}
		})
	}
}

// TestExpired: the error says that credentials have expired, and they are found again once a
// tool has renewed them in the file.
func TestExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home := cleanChain(t)
		file := filepath.Join(home, "credentials")
		write(t, file, "[default]\naws_access_key_id = old\naws_secret_access_key = old\n")
		fake, err := kinesistest.New(kinesistest.Options{Scene: plain{}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := kinesis.New(t.Context(), kinesis.Options{
			Region: kinesistest.Region,
			HTTPClient: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				if strings.Contains(r.Header.Get("Authorization"), "Credential=old/") {
					w := httptest.NewRecorder()
					w.Header().Set("X-Amzn-ErrorType", "ExpiredTokenException")
					w.WriteHeader(http.StatusForbidden)
					_, _ = io.WriteString(w, `{"message":"The security token included in the request is expired"}`)
					return w.Result(), nil
				}
				return served(fake, r), nil
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := c.Stream(kinesis.StreamOptions{Name: "cam-1"})
		check := func() error {
			time.Sleep(15 * time.Second)
			return s.Check(t.Context())
		}
		err = check()
		if !errors.Is(err, source.ErrExpired) || errors.Is(err, source.ErrRefused) || !strings.Contains(err.Error(), "have expired") {
			t.Errorf("while they are expired: %v", err)
		}
		if _, err := c.List(t.Context(), "cam-"); err == nil || errors.Is(err, source.ErrRefused) {
			t.Errorf("listing streams: %v", err)
		}
		now := source.SlotAt(time.Now())
		if _, err := s.Fragments(t.Context(), now.Add(-time.Minute), now); err == nil || errors.Is(err, source.ErrRefused) {
			t.Errorf("listing fragments: %v", err)
		}
		write(t, file, "[default]\naws_access_key_id = test\naws_secret_access_key = test\n")
		_ = check() // finds them
		if err := check(); err != nil {
			t.Errorf("when they are renewed: %v", err)
		}
	})
}

// proxyProcess is set for the process of TestProxy.
const proxyProcess = "CVFEEDER_TEST_PROXY"

// TestProxy runs a process that sends its requests through a proxy, because the proxy in
// the environment is looked up only once in a process.
func TestProxy(t *testing.T) {
	if os.Getenv(proxyProcess) != "" {
		c, err := kinesis.New(t.Context(), kinesis.Options{Region: kinesistest.Region, Endpoint: "http://kinesisvideo.example"})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Stream(kinesis.StreamOptions{Name: "cam-1"}).Check(t.Context()); err != nil {
			t.Error(err)
		}
		return
	}
	fake, err := kinesistest.New(kinesistest.Options{Scene: plain{}})
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "kinesisvideo.example" {
			asked.Add(1)
			fake.ServeHTTP(w, r)
		}
	}))
	defer proxy.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxy$")
	cmd.Env = append(os.Environ(), proxyProcess+"=1", "HTTP_PROXY="+proxy.URL, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCESS_KEY_ID="+kinesistest.AccessKey, "AWS_SECRET_ACCESS_KEY="+kinesistest.SecretKey)
	out, err := cmd.CombinedOutput()
	if err != nil || asked.Load() == 0 {
		t.Errorf("%v, and the proxy was asked %d times\n%s", err, asked.Load(), bytes.TrimSpace(out))
	}
}
