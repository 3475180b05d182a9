package salesloft

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

var (
	// ErrUnauthorized matches an answer of 401 that outlived the renewal of the token, and a client that the token endpoint
	// does not know: the credentials are wrong, expired or revoked.
	ErrUnauthorized = errors.New("salesloft refused the credentials")
	// ErrExpired matches, beside ErrUnauthorized, an answer of 401 whose text says that the credentials have expired. The vendor's
	// text is not documented, so that others may have expired too.
	ErrExpired = errors.New("salesloft says that the credentials have expired")
	// ErrForbidden matches an answer of 403: the credentials are valid but lack the scope.
	ErrForbidden = errors.New("salesloft refused the scope")
	// ErrNotFound matches an answer of 404.
	ErrNotFound = errors.New("salesloft knows no such resource")
	// ErrRateLimited matches an answer of 429 that the transport did not wait out; APIError.RetryAfter says for how long to wait.
	ErrRateLimited = errors.New("salesloft's rate limit is used up")
	// ErrInvalidGrant is returned by every call that needs a token once the refresh token is refused. Trying again cannot help:
	// somebody has to authorise the application anew and configure the new refresh token, which is picked up without a restart.
	ErrInvalidGrant = errors.New("salesloft refused the refresh token; authorise the application again and configure the new refresh token")
	// ErrMalformed is returned when an answer of 2xx is not the document that was asked for (cut off, HTML, no "data").
	ErrMalformed = errors.New("salesloft's answer is malformed")
	// ErrListOrder is returned by Changes when the list breaks what the walk rests on: ascending order and progress.
	ErrListOrder = errors.New("salesloft's list is not in the order that was asked for")
	// ErrUnstable is returned by Changes when the records of one timestamp kept changing through every attempt to list them.
	// Nothing is lost: the next walk from the last Batch.Cursor lists them again.
	ErrUnstable = errors.New("the records of one timestamp kept changing while they were listed")
	// ErrSignature is returned by VerifySignature: the delivery is not from the holder of the secret.
	ErrSignature = errors.New("the webhook signature does not match")
	// ErrMissingSecret is returned by every call while the function that supplies a credential returns "".
	ErrMissingSecret = errors.New("a salesloft credential is empty")

	errClosed = errors.New("the salesloft client is closed")
)

// APIError is an answer of 4xx or 5xx. It matches ErrUnauthorized, ErrForbidden, ErrNotFound and ErrRateLimited by its
// status, and ErrExpired by its text.
type APIError struct {
	Method, Path string // as sent, without the query: filters can hold e-mail addresses
	Status       int
	Message      string        // the vendor's text, at most 200 characters, or "" when the body was not the documented envelope
	RetryAfter   time.Duration // 0 when the answer named none
}

func (e *APIError) Error() string {
	text := fmt.Sprintf("%s %s answered %d", e.Method, e.Path, e.Status)
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Is maps the status to the sentinel errors.
func (e *APIError) Is(target error) bool {
	switch e.Status {
	case http.StatusUnauthorized:
		return target == ErrUnauthorized || (target == ErrExpired && strings.Contains(strings.ToLower(e.Message), "expired"))
	case http.StatusForbidden:
		return target == ErrForbidden
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusTooManyRequests:
		return target == ErrRateLimited
	}
	return false
}

// ValidationError is an answer of 422: what was sent can never succeed. It wraps the APIError.
type ValidationError struct {
	*APIError
	Fields map[string][]string // parameter or field → what is wrong with it, in the vendor's words
}

func (e *ValidationError) Error() string {
	names := make([]string, 0, len(e.Fields))
	for name := range e.Fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Sprintf("%s: refused fields: %s", e.APIError.Error(), strings.Join(names, ", "))
}

// Unwrap gives the APIError.
func (e *ValidationError) Unwrap() error { return e.APIError }

// TokenError is the token endpoint's refusal. It matches ErrInvalidGrant or ErrUnauthorized by its code.
type TokenError struct {
	Status int
	Code   string // "invalid_grant", "invalid_client", …; "" when the body was not the documented envelope
}

func (e *TokenError) Error() string {
	return fmt.Sprintf("the token endpoint answered %d %s", e.Status, e.Code)
}

// Is maps the code, and failing that the status, to the sentinel errors.
func (e *TokenError) Is(target error) bool {
	switch {
	case e.Code == "invalid_grant":
		return target == ErrInvalidGrant
	case e.Code == "invalid_client", e.Code == "unauthorized_client", e.Status == http.StatusUnauthorized:
		return target == ErrUnauthorized
	case e.Status == http.StatusTooManyRequests:
		return target == ErrRateLimited
	}
	return false
}

// FieldError says which field of a person cannot be read. It never holds the value, which may be personal data.
type FieldError struct {
	Field   string // "" for the record as a whole
	Problem string
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return "reading a person: " + e.Problem
	}
	return fmt.Sprintf("reading a person: field %q %s", e.Field, e.Problem)
}

// RecordError is one record of a page that is no valid person; the records around it are not affected.
type RecordError struct {
	Index     int             // place on the page, from 0
	ID        int64           // 0 when not even that could be read
	UpdatedAt time.Time       // zero when not even that could be read
	Raw       json.RawMessage // the record as received: personal data, for the dead-letter queue, never for a log
	Err       error           // a *FieldError
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("record %d (id %d): %v", e.Index, e.ID, e.Err)
}

// Unwrap gives the FieldError.
func (e *RecordError) Unwrap() error { return e.Err }
