package kinesistest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	signingAlgorithm = "AWS4-HMAC-SHA256"
	signingService   = "kinesisvideo"
	signingTime      = "20060102T150405Z"
	clockSkew        = 5 * time.Minute
)

// A verifier checks that requests are signed according to AWS Signature Version 4.
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
type verifier struct{ region, accessKey, secretKey string }

// A claim is what a request says about its signature.
type claim struct {
	accessKey, day, region, service string
	headers                         []string
	signature                       string
	time                            string // as in X-Amz-Date
}

// claim returns what the request claims, after checking all that can be checked without
// the body: nobody without a key makes the service read one.
func (v verifier) claim(r *http.Request, now time.Time) (claim, error) {
	s, err := parseClaim(r)
	if err != nil {
		return claim{}, err
	}
	switch {
	case s.accessKey != v.accessKey:
		return claim{}, &ErrorResponse{
			Status: http.StatusForbidden, Code: "UnrecognizedClientException",
			Message: "The security token included in the request is invalid.",
		}
	case s.region != v.region:
		return claim{}, invalidSignature("Credential should be scoped to a valid region. (This service is in %s.)", v.region)
	case s.service != signingService:
		return claim{}, invalidSignature("Credential should be scoped to correct service: '%s'.", signingService)
	}
	if err := checkSignedHeaders(r, s.headers); err != nil {
		return claim{}, err
	}
	return s, s.checkTime(now)
}

// parseClaim reads the headers Authorization and X-Amz-Date.
func parseClaim(r *http.Request) (claim, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return claim{}, &ErrorResponse{
			Status: http.StatusForbidden, Code: "MissingAuthenticationTokenException",
			Message: "Missing Authentication Token",
		}
	}
	rest, ok := strings.CutPrefix(header, signingAlgorithm+" ")
	if !ok {
		return claim{}, incompleteSignature("Authorization header requires the algorithm %s.", signingAlgorithm)
	}
	s := claim{time: r.Header.Get("X-Amz-Date")}
	var credential string
	for part := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch key {
		case "Credential":
			credential = value
		case "SignedHeaders":
			s.headers = strings.Split(value, ";")
		case "Signature":
			s.signature = value
		}
	}
	scope := strings.Split(credential, "/")
	if len(scope) != 5 || scope[4] != "aws4_request" {
		return claim{}, incompleteSignature("Credential must be KEY/DATE/REGION/SERVICE/aws4_request.")
	}
	if len(s.headers) == 0 || s.signature == "" || s.time == "" {
		return claim{}, incompleteSignature("Authorization header requires SignedHeaders, Signature and an X-Amz-Date header.")
	}
	s.accessKey, s.day, s.region, s.service = scope[0], scope[1], scope[2], scope[3]
	return s, nil
}

// checkSignedHeaders requires that all headers are signed which AWS looks at.
func checkSignedHeaders(r *http.Request, headers []string) error {
	need := []string{"host"}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") {
			need = append(need, name)
		}
	}
	for _, name := range need {
		if !slices.Contains(headers, name) {
			return invalidSignature("'%s' must be a 'SignedHeader' in the AWS Authorization.", name)
		}
	}
	return nil
}

func (s claim) checkTime(now time.Time) error {
	at, err := time.Parse(signingTime, s.time)
	if err != nil {
		return incompleteSignature("X-Amz-Date must look like %s.", signingTime)
	}
	if s.day != at.Format("20060102") {
		return invalidSignature("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.")
	}
	now = now.UTC()
	if limit := now.Add(-clockSkew); at.Before(limit) {
		return invalidSignature("Signature expired: %s is now earlier than %s (%s - 5 min.)",
			s.time, limit.Format(signingTime), now.Format(signingTime))
	}
	if limit := now.Add(clockSkew); at.After(limit) {
		return invalidSignature("Signature not yet current: %s is still later than %s (%s + 5 min.)",
			s.time, limit.Format(signingTime), now.Format(signingTime))
	}
	return nil
}

// verify compares the signature with that of the request as it arrived.
func (v verifier) verify(r *http.Request, s claim, body []byte) error {
	scope := strings.Join([]string{s.day, s.region, s.service, "aws4_request"}, "/")
	toSign := strings.Join([]string{
		signingAlgorithm, s.time, scope, hash([]byte(canonicalRequest(r, s.headers, body))),
	}, "\n")
	key := []byte("AWS4" + v.secretKey)
	for _, part := range []string{s.day, s.region, s.service, "aws4_request", toSign} {
		key = sign(key, part)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(key)), []byte(s.signature)) {
		return invalidSignature("The request signature we calculated does not match the signature you provided. " +
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return nil
}

func canonicalRequest(r *http.Request, headers []string, body []byte) string {
	var b strings.Builder
	// All services but S3 escape the path a second time.
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Method, strings.ReplaceAll(r.URL.EscapedPath(), "%", "%25"), canonicalQuery(r.URL))
	for _, name := range headers {
		fmt.Fprintf(&b, "%s:%s\n", name, canonicalHeader(r, name))
	}
	fmt.Fprintf(&b, "\n%s\n%s", strings.Join(headers, ";"), hash(body))
	return b.String()
}

func canonicalQuery(u *url.URL) string {
	values := u.Query()
	for _, v := range values {
		slices.Sort(v)
	}
	return strings.ReplaceAll(values.Encode(), "+", "%20")
}

// canonicalHeader returns the header's values, with each run of spaces as one space.
func canonicalHeader(r *http.Request, name string) string {
	// net/http keeps these two outside of the header.
	switch {
	case name == "host":
		return r.Host
	case name == "content-length" && r.Header.Get(name) == "":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func invalidSignature(format string, args ...any) *ErrorResponse {
	return &ErrorResponse{
		Status: http.StatusForbidden, Code: "InvalidSignatureException",
		Message: fmt.Sprintf(format, args...),
	}
}

func incompleteSignature(format string, args ...any) *ErrorResponse {
	return &ErrorResponse{Code: "IncompleteSignatureException", Message: fmt.Sprintf(format, args...)}
}
