package kinesistest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// A Fault is an answer that is not what was asked for: an error, or something
// stranger.
type Fault struct {
	// Status is the HTTP status. Default: 400.
	Status int
	// Code is the error's name as in AWS's reference; empty sends none.
	Code string
	// Message is for people.
	Message string
	// Body is sent as it is in place of the error's JSON, where set.
	Body string
}

// Throttled is the answer to those who ask too much: ClientLimitExceededException.
func Throttled() *Fault {
	return &Fault{
		Code:    "ClientLimitExceededException",
		Message: "Rate exceeded: the limit of client calls for this stream has been reached. Try again later.",
	}
}

// Broken is the answer of a service in trouble: a 500.
func Broken() *Fault {
	return &Fault{
		Status:  http.StatusInternalServerError,
		Code:    "InternalFailure",
		Message: "The request processing has failed because of an unknown error, exception or failure.",
	}
}

// Unavailable is the answer of a service that is overloaded: a 503.
func Unavailable() *Fault {
	return &Fault{
		Status:  http.StatusServiceUnavailable,
		Code:    "ServiceUnavailableException",
		Message: "The request has failed due to a temporary failure of the server.",
	}
}

// NotAuthorized is the answer to those without the permission for an action, such
// as "kinesisvideo:GetImages".
func NotAuthorized(action string) *Fault {
	return &Fault{
		Status: http.StatusUnauthorized, Code: "NotAuthorizedException",
		Message: "The caller is not authorized to perform " + action + ".",
	}
}

// NoImages is what the real service's regional endpoint says to GetImages: 200,
// without any Images.
func NoImages() *Fault { return &Fault{Status: http.StatusOK, Body: "{}"} }

// Error implements error.
func (f *Fault) Error() string { return fmt.Sprintf("%d %s: %s", f.status(), f.Code, f.Message) }

func (f *Fault) status() int {
	if f.Status == 0 {
		return http.StatusBadRequest
	}
	return f.Status
}

func (f *Fault) write(w http.ResponseWriter) {
	if f.Code != "" {
		w.Header().Set("X-Amzn-ErrorType", f.Code)
	}
	w.WriteHeader(f.status())
	// A client that has gone away misses nothing.
	if f.Body != "" {
		_, _ = io.WriteString(w, f.Body)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"Message": f.Message})
}

func invalidArgument(format string, args ...any) *Fault {
	return &Fault{Code: "InvalidArgumentException", Message: fmt.Sprintf(format, args...)}
}

// invalidValue says that a member breaks the constraint of the service's model.
func invalidValue(member string, value any, constraint string) *Fault {
	return &Fault{Code: "ValidationException", Message: fmt.Sprintf(
		"1 validation error detected: Value '%v' at '%s' failed to satisfy constraint: %s", value, member, constraint)}
}

func malformed(format string, args ...any) *Fault {
	return &Fault{Code: "SerializationException", Message: fmt.Sprintf(format, args...)}
}
