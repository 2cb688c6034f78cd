package kinesis_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/source/kinesis"
)

// TestDataEndpointsOfAWS: signed requests, with the token of their session, go to hosts of
// the region only, and by https, whatever the control plane says.
func TestDataEndpointsOfAWS(t *testing.T) {
	cleanChain(t)
	for _, tc := range []struct {
		region, endpoint string
		believed         bool
	}{
		{"eu-west-1", "https://b-1234abcd.kinesisvideo.eu-west-1.amazonaws.com", true},
		{"eu-west-1", "https://B-1.kinesisvideo.EU-WEST-1.amazonaws.com:443/", true},
		{"eu-west-1", "https://b-1.kinesisvideo.eu-west-1.api.aws", true},
		{"us-gov-west-1", "https://b-1.kinesisvideo-fips.us-gov-west-1.amazonaws.com", true},
		{"cn-north-1", "https://b-1.kinesisvideo.cn-north-1.amazonaws.com.cn", true},
		{"cn-north-1", "https://b-1.kinesisvideo.cn-north-1.api.amazonwebservices.com.cn", true},
		{"eusc-de-east-1", "https://b-1.kinesisvideo.eusc-de-east-1.amazonaws.eu", true},
		{"us-iso-east-1", "https://b-1.kinesisvideo.us-iso-east-1.c2s.ic.gov", true},
		{"us-isob-east-1", "https://b-1.kinesisvideo.us-isob-east-1.sc2s.sgov.gov", true},
		{"eu-isoe-west-1", "https://b-1.kinesisvideo.eu-isoe-west-1.cloud.adc-e.uk", true},
		{"us-isof-south-1", "https://b-1.kinesisvideo.us-isof-south-1.csp.hci.ic.gov", true},
		{"xx-new-7", "https://b-1.kinesisvideo.xx-new-7.amazonaws.com", true},

		{"eu-west-1", "http://b-1.kinesisvideo.eu-west-1.amazonaws.com", false},
		{"eu-west-1", "https://evil.example", false},
		{"eu-west-1", "https://b-1.kinesisvideo.us-east-1.amazonaws.com", false},
		{"eu-west-1", "https://b-1.kinesisvideo.eu-west-1.amazonaws.com.evil.example", false},
		{"eu-west-1", "https://evil-eu-west-1.amazonaws.com", false},
		{"eu-west-1", "https://b-1.kinesisvideo.eu-west-1.amazonaws.com:8443", false},
		{"eu-west-1", "https://eu-west-1.amazonaws.com@evil.example", false},
		{"eu-west-1", "https://evil.example/.eu-west-1.amazonaws.com", false},
		{"eu-west-1", "https://evil.example?.eu-west-1.amazonaws.com", false},
		{"eu-west-1", "https://evil.example#.eu-west-1.amazonaws.com", false},
		{"eu-west-1", "https://169.254.169.254", false},
		{"eu-west-1", "https://b-1.kinesisvideo.eu-west-1.amazonaws.com.cn", false},
		{"cn-north-1", "https://b-1.kinesisvideo.cn-north-1.amazonaws.com", false},
		{"eu-west-1", "file:///etc/passwd", false},
		{"eu-west-1", "//b-1.kinesisvideo.eu-west-1.amazonaws.com", false},
		{"eu-west-1", "https://" + strings.Repeat("a", 4000) + ".eu-west-1.amazonaws.com", false},
		{"eu-west-1", "https://a\nb.eu-west-1.amazonaws.com", false},
	} {
		asked := askedHosts(t, kinesis.Options{Region: tc.region, AccessKey: "key", Secret: "secret"}, tc.endpoint)
		if got := len(asked) == 2; got != tc.believed || len(asked) == 0 {
			t.Errorf("%s in %s: the hosts that were asked are %q", tc.endpoint, tc.region, asked)
		}
	}
}

// TestDataEndpointsOfOthers: the user's own control plane may name any host, but none in the
// clear if it is asked by https itself.
func TestDataEndpointsOfOthers(t *testing.T) {
	for _, tc := range []struct {
		own, endpoint string
		fromSDK       bool // the SDK's own configuration has it
		believed      bool
	}{
		{"https://vpce-1.example", "https://data.example:8443", false, true},
		{"https://vpce-1.example", "https://data.example:8443", true, true},
		{"https://vpce-1.example", "http://data.example", false, false},
		{"https://vpce-1.example", "http://data.example", true, false},
		{"http://127.0.0.1:4567", "http://127.0.0.1:4567", false, true},
		{"http://127.0.0.1:4567", "https://data.example", false, true},
		{"http://127.0.0.1:4567", "ftp://data.example", false, false},
		{"http://127.0.0.1:4567", "http://user:password@data.example", false, false},
		{"http://127.0.0.1:4567", "data.example", false, false},
	} {
		cleanChain(t)
		opts := kinesis.Options{Region: "eu-west-1", AccessKey: "key", Secret: "secret", Endpoint: tc.own}
		if tc.fromSDK {
			t.Setenv("AWS_ENDPOINT_URL_KINESIS_VIDEO", tc.own)
			opts.Endpoint = ""
		}
		asked := askedHosts(t, opts, tc.endpoint)
		if got := len(asked) == 2; got != tc.believed || len(asked) == 0 {
			t.Errorf("%s of %s: the hosts that were asked are %q", tc.endpoint, tc.own, asked)
		}
	}
}

// askedHosts returns the hosts that are asked if GetDataEndpoint gives the given one.
func askedHosts(t *testing.T, opts kinesis.Options, endpoint string) (hosts []string) {
	t.Helper()
	opts.Attempts = 1
	opts.HTTPClient = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") == "" {
			t.Error("a request is not signed")
		}
		hosts = append(hosts, r.URL.Host)
		w := httptest.NewRecorder()
		_, _ = io.WriteString(w, `{"DataEndpoint":"`+strings.ReplaceAll(endpoint, "\n", `\n`)+`","Images":[]}`)
		return w.Result(), nil
	})}
	c, err := kinesis.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	_, err = cam(c).Page(t.Context(), kinesis.PageRequest{Window: past(11), MaxResults: 11})
	if len(hosts) == 1 && (err == nil || !strings.Contains(err.Error(), "GetDataEndpoint answered with")) {
		t.Errorf("%s: %v", endpoint, err)
	}
	return hosts
}

// TestNoRedirects: no answer sends a signed request elsewhere.
func TestNoRedirects(t *testing.T) {
	for name, op := range operations {
		if name == "credentials" {
			continue // they are what a redirect would give away
		}
		for _, status := range []int{301, 302, 303, 307, 308} {
			var hosts []string
			c, err := kinesis.New(t.Context(), kinesis.Options{
				Region: "eu-west-1", Endpoint: "http://control.example", AccessKey: "key", Secret: "secret", Attempts: 1,
				HTTPClient: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
					hosts = append(hosts, r.URL.Host)
					w := httptest.NewRecorder()
					if r.URL.Path == op.path {
						w.Header().Set("Location", "http://evil.example"+op.path)
						w.WriteHeader(status)
						return w.Result(), nil
					}
					_, _ = io.WriteString(w, `{"DataEndpoint":"http://data.example"}`)
					return w.Result(), nil
				})},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := op.call(t.Context(), c); err == nil || slices.Contains(hosts, "evil.example") {
				t.Errorf("%s, %d: asked %q, %v", name, status, hosts, err)
			}
		}
	}
}
