package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

//go:embed login.html
var login string

// loginStyle finds the form's style sheet, whose hash the browser needs to allow it.
var loginStyle = regexp.MustCompile(`(?s)<style>(.*)</style>`)

// patient bounds the body of a request, in time and in length. Without that, a request that
// announces a body and does not send it holds its connection, also after its answer.
func patient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// secured sets the headers that keep pages of other sites from using these.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
			"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// local refuses host names: a page of another site could make its own name resolve to
// this machine, and read the answers. IP addresses and localhost cannot be abused that
// way.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.Host) {
			text(w, http.StatusForbidden, "this is only for requests by IP address or as localhost: "+
				"use one of these, or set http.token to be reached by other names")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocal reports whether a Host header is an IP address or localhost, with or
// without a port.
func isLocal(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// A guard lets only those through who have the token.
type guard struct {
	token string
	// cookie and session are the name and the value of the cookie of a browser that
	// has shown the token. They are derived from the token: they survive a restart of
	// the process, are worthless once the token changes, and do not reveal it.
	cookie, session string
	style           string
	next            http.Handler
}

func newGuard(token string, next http.Handler) *guard {
	sum := sha256.Sum256([]byte(loginStyle.FindStringSubmatch(login)[1]))
	return &guard{
		token: token, next: next, style: "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
		cookie: "cvfeeder_" + derive(token, "cookie")[:8], session: derive(token, "session"),
	}
}

// derive returns a text that only somebody with the token can make.
func derive(token, purpose string) string {
	mac := hmac.New(sha256.New, []byte(token))
	_, _ = mac.Write([]byte("cvfeeder " + purpose))
	return hex.EncodeToString(mac.Sum(nil))
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/login" && r.Method == http.MethodPost:
		g.login(w, r)
	case g.knows(r):
		g.next.ServeHTTP(w, r)
	default:
		g.ask(w, r, "")
	}
}

// knows reports whether a request comes from somebody who has the token.
func (g *guard) knows(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") && equal(strings.TrimSpace(token), g.token) {
		return true
	}
	c, err := r.Cookie(g.cookie)
	return err == nil && equal(c.Value, g.session)
}

// equal compares in constant time, so that how long it takes does not reveal how much
// of a guess is right.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// login sets the cookie for somebody who enters the token.
func (g *guard) login(w http.ResponseWriter, r *http.Request) {
	if !equal(strings.TrimSpace(r.PostFormValue("token")), g.token) {
		g.ask(w, r, "This is not the token.")
		return
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure would keep it from plain HTTP, which is what is served
		Name: g.cookie, Value: g.session, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		MaxAge: 30 * 24 * 3600,
	})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// ask answers with the login form for a browser, and with an explanation for others.
func (g *guard) ask(w http.ResponseWriter, r *http.Request, problem string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="cvfeeder"`)
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		text(w, http.StatusUnauthorized, "the token is needed (http.token): send the header Authorization: Bearer TOKEN")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; style-src "+g.style+"; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = fmt.Fprint(w, strings.Replace(login, "{{problem}}", problem, 1))
}
