package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// scrubber replaces what is not known to be harmless.
type scrubber struct{ key []byte }

// set is a set of names, given with spaces between.
func set(names string) map[string]bool {
	s := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		s[name] = true
	}
	return s
}

// The names under which something harmless is. No pattern such as "*_id" is among them: it would match a customer's tax_id.
var (
	// plainKeys are keys of JSON whose texts and numbers stay: IDs, times, states, counts and paging.
	plainKeys = set(`
		jobId userId fieldId timePeriodId timeFrameId crmId hierarchyId parentHierarchyId scopeId orgId errorId forecastId
		runningJobIds submittedJobIds updatedBy
		startTime endTime expiredTime updatedOn startDate endDate year version downloads timePeriod label
		status code namespace module source type fieldType fileType fileName exportFormat schedule typesToExport currency request_id
		concurrentLimit monthlyQuota availableConcurrentLimit availableMonthlyQuota

		id guid user_guid tenant_id crm_id account_crm_id owner_crm_id upsert_key upsert_type crm_id_type
		created_at updated_at last_contacted_at last_replied_at expires_in gt gte lt lte ids owner_id
		crm_object_type last_contacted_type job_seniority event_type token_type grant_type scope contact_restrictions
		success_count locale_utc_offset emails_sent emails_viewed emails_clicked emails_replied_to emails_bounced calls
		per_page current_page next_page prev_page total_pages total_count sort_by sort_direction
	`)
	// wordyKeys are those of plainKeys whose texts have spaces in them.
	wordyKeys = set(`scope sort_direction`)
	// messageKeys are keys of texts in which a fixed vocabulary stays; under errors they are keyed by field.
	messageKeys = set(`message error error_description errors`)
	// customKeys are keys of objects that the customer has made up: neither key nor value stays.
	customKeys = set(`custom_fields`)

	requestHeaders  = set(`Accept Content-Type X-Correlation-Id`)
	responseHeaders = set(`Content-Type Date Retry-After X-Correlation-Id X-Request-Id X-Ratelimit-Endpoint-Cost X-Ratelimit-Remaining-Minute`)

	// plainParameters are parameters of a query, without what stands in brackets, whose values stay.
	plainParameters = set(`page per_page sort_by sort_direction include_paging_counts updated_at created_at ids owner_id crm_id`)

	plainText   = regexp.MustCompile(`^[\w:.+\-]{0,100}$`)
	plainWords  = regexp.MustCompile(`^[\w: ]{0,200}$`)
	plainHeader = regexp.MustCompile(`^[\w:.+\-/;=, ]{0,200}$`)
	plainKey    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)
	plainName   = regexp.MustCompile(`^[A-Za-z_][\w.\-]{0,63}(\[\w{0,8}\])?$`)
	plainValue  = regexp.MustCompile(`^[\w:.+\-, ]*$`)
	plainPart   = regexp.MustCompile(`^[\w:.+\-~ ]{0,64}$`)
)

// headers are those on the list, if they look as they should.
func (s *scrubber) headers(from http.Header, allowed map[string]bool) http.Header {
	to := http.Header{}
	for name := range allowed {
		if value := from.Get(name); value != "" && plainHeader.MatchString(value) {
			to.Set(name, value)
		}
	}
	return to
}

// url is an address without its host.
func (s *scrubber) url(u *url.URL) string {
	parts := strings.Split(u.Path, "/")
	for i, part := range parts {
		if !plainPart.MatchString(part) {
			part = s.pseudonym(part)
		}
		parts[i] = url.PathEscape(part)
	}
	text := strings.Join(parts, "/")
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(query) == 0 {
		return text
	}
	clean := url.Values{}
	for name, values := range query {
		kept := isPlain(name)
		if !plainName.MatchString(name) {
			name = s.pseudonym(name)
		}
		for _, value := range values {
			if !kept || !plainValue.MatchString(value) {
				value = s.pseudonym(value)
			}
			clean.Add(name, value)
		}
	}
	return text + "?" + clean.Encode()
}

// isPlain tells whether a parameter's values stay.
func isPlain(parameter string) bool {
	base, _, _ := strings.Cut(parameter, "[")
	return plainParameters[base] && plainName.MatchString(parameter)
}

// location is where a redirection leads, within what is served again.
func (s *scrubber) location(to string) string {
	u, err := url.Parse(to)
	if err != nil {
		return "/"
	}
	return s.url(u)
}

var errNoJSON = errors.New("no JSON")

// json scrubs one JSON text, in the order of its keys. After a mistake in the text it returns what came before it, and an error.
func (s *scrubber) json(text []byte) ([]byte, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errNoJSON
	}
	w := writer{scrubber: s, from: json.NewDecoder(bytes.NewReader(text))}
	w.from.UseNumber()
	if err := w.value("", false, 0); err != nil {
		return w.to, err
	}
	if _, err := w.from.Token(); !errors.Is(err, io.EOF) {
		return w.to, errNoJSON
	}
	return w.to, nil
}

// writer copies tokens from a text and replaces.
type writer struct {
	*scrubber
	from *json.Decoder
	to   []byte
}

// value copies one value, which stands under key. In custom ones nothing stays.
func (w *writer) value(key string, custom bool, depth int) error {
	token, err := w.from.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		if depth > maxDepth || v == '}' || v == ']' {
			return errNoJSON
		}
		return w.nested(v, key, custom, depth)
	case string:
		w.to = appendText(w.to, w.text(key, v, custom))
	case json.Number:
		if custom || !plainKeys[key] {
			v = json.Number(w.number(v.String()))
		}
		w.to = append(w.to, v...)
	default: // true, false or null
		w.to = fmt.Append(w.to, orNull(v))
	}
	return nil
}

func orNull(v any) any {
	if v == nil {
		return "null"
	}
	return v
}

func (w *writer) nested(open json.Delim, key string, custom bool, depth int) error {
	custom = custom || customKeys[key]
	w.to = append(w.to, byte(open))
	for first := true; w.from.More(); first = false {
		if !first {
			w.to = append(w.to, ',')
		}
		below := key
		if open == '{' {
			token, err := w.from.Token()
			name, ok := token.(string)
			if err != nil || !ok {
				return errNoJSON
			}
			if key != "errors" { // whose keys are fields, and whose values messages
				below = name
			}
			if custom || !plainKey.MatchString(name) {
				name = w.pseudonym(name)
			}
			w.to = append(appendText(w.to, name), ':')
		}
		if err := w.value(below, custom, depth+1); err != nil {
			return err
		}
	}
	token, err := w.from.Token()
	if err != nil {
		return err
	}
	if end, ok := token.(json.Delim); ok { // after More nothing else comes
		w.to = append(w.to, byte(end))
	}
	return nil
}

func (s *scrubber) text(key, text string, custom bool) string {
	switch {
	case custom:
		return s.pseudonym(text)
	case plainKeys[key] && plainText.MatchString(text), wordyKeys[key] && plainWords.MatchString(text):
		return text
	case messageKeys[key]:
		return s.message(text)
	}
	return s.pseudonym(text)
}

func appendText(to []byte, text string) []byte {
	quoted := bytes.NewBuffer(to)
	encoder := json.NewEncoder(quoted)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always encodes
	return bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))
}
