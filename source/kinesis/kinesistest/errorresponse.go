package kinesistest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// An ErrorResponse is an answer that is not what was asked for: an error of the service,
// or whatever Status and Body say.
type ErrorResponse struct {
	// Status is the HTTP status. Default: 400.
	Status int
	// Code is the error's name as in AWS's reference; empty sends none.
	Code string
	// Message is for people.
	Message string
	// Body, where set, is sent as it is in place of the error's JSON.
	Body string
}

// Throttled is the answer to a client that asks too much: ClientLimitExceededException.
func Throttled() *ErrorResponse {
	return &ErrorResponse{
		Code:    "ClientLimitExceededException",
		Message: "Rate exceeded: the limit of client calls for this stream has been reached. Try again later.",
	}
}

// Broken is the answer of a service that fails internally: a 500.
func Broken() *ErrorResponse {
	return &ErrorResponse{
		Status:  http.StatusInternalServerError,
		Code:    "InternalFailure",
		Message: "The request processing has failed because of an unknown error, exception or failure.",
	}
}

// Unavailable is the answer of a service that is overloaded: a 503.
func Unavailable() *ErrorResponse {
	return &ErrorResponse{
		Status:  http.StatusServiceUnavailable,
		Code:    "ServiceUnavailable",
		Message: "The request has failed due to a temporary failure of the server.",
	}
}

// NotAuthorized is the answer to a client without the permission for an action, such as
// "kinesisvideo:GetImages".
func NotAuthorized(action string) *ErrorResponse {
	return &ErrorResponse{
		Status: http.StatusUnauthorized, Code: "NotAuthorizedException",
		Message: "The caller is not authorized to perform " + action + ".",
	}
}

// ExpiredCredentials is the answer to a client whose temporary credentials have expired.
func ExpiredCredentials() *ErrorResponse {
	return &ErrorResponse{
		Status: http.StatusForbidden, Code: "ExpiredTokenException",
		Message: "The security token included in the request is expired",
	}
}

// NoImages is what the real service's regional endpoint answers to GetImages: a 200
// without any Images.
func NoImages() *ErrorResponse { return &ErrorResponse{Status: http.StatusOK, Body: "{}"} }

// Error implements error.
func (e *ErrorResponse) Error() string {
	return fmt.Sprintf("%d %s: %s", e.status(), e.Code, e.Message)
}

func (e *ErrorResponse) status() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}

func (e *ErrorResponse) write(w http.ResponseWriter) {
	if e.Code != "" {
		w.Header().Set("X-Amzn-ErrorType", e.Code)
	}
	w.WriteHeader(e.status())
	// Writing fails only if the client has gone away.
	if e.Body != "" {
		_, _ = io.WriteString(w, e.Body)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"Message": e.Message})
}

func invalidArgument(format string, args ...any) *ErrorResponse {
	return &ErrorResponse{Code: "InvalidArgumentException", Message: fmt.Sprintf(format, args...)}
}

// invalidValue says that a member violates a constraint of the service's model.
func invalidValue(member string, value any, constraint string) *ErrorResponse {
	return &ErrorResponse{Code: "ValidationException", Message: fmt.Sprintf(
		"1 validation error detected: Value '%v' at '%s' failed to satisfy constraint: %s", value, member, constraint)}
}

func malformed(format string, args ...any) *ErrorResponse {
	return &ErrorResponse{Code: "SerializationException", Message: fmt.Sprintf(format, args...)}
}
