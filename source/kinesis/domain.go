package kinesis

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
)

// mostURL is how long the URL of a data endpoint may be.
const mostURL = 2 << 10

// A domain is where the data endpoints of a region may be. They are sent signed requests,
// and with them the token of the session, so one that the control plane names is not
// believed without a look at it.
type domain struct {
	region string
	// own is the control plane's URL where the user has set it: then its data endpoints may
	// have any host. Otherwise it is nil.
	own *string
}

// check returns an error if the URL of a data endpoint is not within the domain.
func (d domain) check(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case len(endpoint) > mostURL:
		return fmt.Errorf("GetDataEndpoint answered with a URL of %d bytes", len(endpoint))
	case err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return fmt.Errorf("GetDataEndpoint answered with %q, which is not the URL of an endpoint", endpoint)
	case u.Scheme != "https" && (d.own == nil || u.Scheme != "http" || !isClear(*d.own)):
		return fmt.Errorf("GetDataEndpoint answered with %q: it is not https, as the control plane is, and would get signed requests in the clear", endpoint)
	case d.own != nil:
		return nil
	}
	suffixes := suffixes(d.region)
	host := strings.ToLower(u.Hostname())
	for _, suffix := range suffixes {
		if strings.HasSuffix(host, suffix) && (u.Port() == "" || u.Port() == "443") {
			return nil
		}
	}
	return fmt.Errorf("GetDataEndpoint answered with %q, which is not a host of AWS in the region (%s): no request is sent there",
		endpoint, strings.Join(suffixes, ", "))
}

// isClear tells whether the control plane is asked in the clear.
func isClear(own string) bool {
	u, err := url.Parse(own)
	return err == nil && strings.EqualFold(u.Scheme, "http")
}

// suffixes returns how the hosts of a region end, by what the SDK knows of its partition:
// for example ".eu-west-1.amazonaws.com" and ".eu-west-1.api.aws".
func suffixes(region string) []string {
	var found []string
	for _, dual := range []bool{false, true} {
		at, err := kinesisvideo.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), kinesisvideo.EndpointParameters{
			Region: &region, UseDualStack: &dual, UseFIPS: aws.Bool(false),
		})
		if err != nil {
			continue // the partition has none of that kind
		}
		if _, rest, ok := strings.Cut(at.URI.Hostname(), "."); ok && strings.HasPrefix(rest, region+".") {
			found = append(found, "."+rest)
		}
	}
	return found
}

// A doer is an HTTP client of the SDK.
type doer interface {
	Do(*http.Request) (*http.Response, error)
}

// staying returns a client that follows no redirect: the signed request, and the token of
// its session, would go along. The service does not redirect.
func staying(client doer) doer {
	if sdk, ok := client.(*awshttp.BuildableClient); ok {
		client = sdk.Freeze()
	}
	if plain, ok := client.(*http.Client); ok {
		stays := *plain
		stays.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return &stays
	}
	return client
}
