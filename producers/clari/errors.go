package clari

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// What the API refuses, by cause. Any call can return them, wrapping an *APIError that has the details.
var (
	// ErrQuota is returned by StartExport when the organisation's monthly quota or its limit of concurrent jobs is used up:
	// wait, the request is not at fault.
	ErrQuota = errors.New("export quota or concurrency limit reached")
	// ErrUnauthorized is returned when the API does not accept the key, or there is none.
	ErrUnauthorized = errors.New("API key refused")
	// ErrKeyExpired is the ErrUnauthorized of a key of which the API says that it was good once.
	ErrKeyExpired = fmt.Errorf("%w: it has expired", ErrUnauthorized)
	// ErrNoOptIn is returned when the key is good but its owner may not see the forecast or scope.
	ErrNoOptIn = errors.New("no permission for this forecast or scope")
	// ErrUnknownForecast is returned by StartExport when the forecast ID is not configured in Clari.
	ErrUnknownForecast = errors.New("unknown forecast ID")
	// ErrTypeNotSupported is returned by StartExport when the tenant cannot export one of the types asked for.
	ErrTypeNotSupported = errors.New("export type not supported")
	// ErrInvalidJob is returned for a job that is unknown, and by Results for one that is not DONE or has expired.
	ErrInvalidJob = errors.New("job unknown or not done")
	// ErrNotCancellable is returned by CancelJob when the job has already ended.
	ErrNotCancellable = errors.New("job cannot be cancelled any more")
)

// ErrBadResults is returned by Results and by Export.Entries when the document is not what an export looks like: cut short, not
// JSON, without a list of entries. A download that was cut short is worth another try.
var ErrBadResults = errors.New("unreadable results document")

// maxMessageBytes bounds what an error repeats of the API's own words.
const maxMessageBytes = 500

// APIError is an answer other than 2xx. errors.Is tells its cause where that is one of the sentinels of this package.
type APIError struct {
	Status  int    // HTTP status
	Code    string // such as "bad_request"; empty when the answer was not Clari's envelope
	ErrorID string // what Clari's support asks for
	Message string // the API's own words, shortened, without the key
}

func (e *APIError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Clari answered %d", e.Status)
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.ErrorID != "" {
		b.WriteString(" (error ID " + e.ErrorID + ")")
	}
	if cause := e.Unwrap(); cause != nil {
		b.WriteString(": " + cause.Error())
	}
	return b.String()
}

// Unwrap gives the sentinel of the error's cause. The code decides, not the status: the API answers 400 to nearly everything, and
// 401 also to a key that is good but lacks a permission.
func (e *APIError) Unwrap() error {
	switch e.Code {
	case "export_monthly_quota_reached":
		return ErrQuota
	case "no_optin":
		return ErrNoOptIn
	case "no_such_forecast_config":
		return ErrUnknownForecast
	case "type_not_supported":
		return ErrTypeNotSupported
	case "invalid_jobId":
		return ErrInvalidJob
	case "export_failed_to_cancel":
		return ErrNotCancellable
	}
	switch {
	case e.Status == http.StatusForbidden && e.Code != "SWW": // that is "something went wrong"
		return ErrNoOptIn
	case e.Status == http.StatusUnauthorized && strings.Contains(strings.ToLower(e.Message), "expired"):
		return ErrKeyExpired
	case e.Status == http.StatusUnauthorized:
		return ErrUnauthorized
	}
	return nil
}

// EntryError is one element of the entries list that cannot be read. The rest of the export is unaffected. Its text names keys,
// never values.
type EntryError struct {
	Index int    // position in the list, from 0
	Raw   []byte // the element as the document has it; not for logs
	Err   error
}

func (e *EntryError) Error() string { return fmt.Sprintf("entry %d: %v", e.Index, e.Err) }

func (e *EntryError) Unwrap() error { return e.Err }

// readAPIError reads an error answer. A body that is not JSON is a proxy's page, which is not worth repeating. An answer that
// echoes the key would carry it into a log, so it is cut out.
func readAPIError(resp *http.Response, key string) *APIError {
	e := &APIError{Status: resp.StatusCode}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return e
	}
	var envelope struct{ Code, ErrorID, Message, Error text }
	if json.Unmarshal(b, &envelope) != nil {
		return e
	}
	if envelope.Message == "" {
		envelope.Message = envelope.Error
	}
	clean := func(t text) string {
		s := strings.ReplaceAll(string(t), key, "[redacted]")
		return strings.ToValidUTF8(s[:min(len(s), maxMessageBytes)], "")
	}
	e.Code, e.ErrorID, e.Message = clean(envelope.Code), clean(envelope.ErrorID), clean(envelope.Message)
	return e
}
