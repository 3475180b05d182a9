package salesloft

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the vendor signs with HMAC-SHA1, for which SHA-1's collisions do not matter
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"strings"
	"time"
)

// The headers of a webhook delivery.
const (
	EventHeader     = "X-Salesloft-Event"
	SignatureHeader = "X-Salesloft-Signature"
)

// Algorithm is how a delivery is signed: HMAC over the raw body, in hexadecimal.
type Algorithm string

const (
	// SHA1 is what Salesloft signs with.
	SHA1 Algorithm = "sha1"
	// SHA256 is for senders that sign in its stead, such as a relay.
	SHA256 Algorithm = "sha256"
)

// ParseAlgorithm reads a configured algorithm; "" is SHA1.
func ParseAlgorithm(name string) (Algorithm, error) {
	switch algorithm := Algorithm(strings.ToLower(name)); algorithm {
	case "":
		return SHA1, nil
	case SHA1, SHA256:
		return algorithm, nil
	}
	return "", fmt.Errorf("webhook signature algorithm %q: want %q or %q", name, SHA1, SHA256)
}

// VerifySignature checks the signature header over the body as received: parsing and encoding it again would change bytes.
// The header is hexadecimal in either case, with or without a prefix such as "sha256=". The comparison takes constant time.
// An empty secret verifies nothing. The error is ErrSignature.
func VerifySignature(algorithm Algorithm, secret string, body []byte, header string) error {
	var newHash func() hash.Hash
	switch algorithm {
	case SHA1:
		newHash = sha1.New
	case SHA256:
		newHash = sha256.New
	default:
		return fmt.Errorf("%w: unknown algorithm", ErrSignature)
	}
	if secret == "" {
		return fmt.Errorf("%w: no secret is configured", ErrSignature)
	}
	header = strings.TrimSpace(header)
	if prefix, rest, found := strings.Cut(header, "="); found && strings.EqualFold(prefix, string(algorithm)) {
		header = rest
	}
	got, err := hex.DecodeString(header)
	if err != nil {
		return fmt.Errorf("%w: it is not hexadecimal", ErrSignature)
	}
	mac := hmac.New(newHash, []byte(secret))
	mac.Write(body)
	if !hmac.Equal(mac.Sum(nil), got) {
		return ErrSignature
	}
	return nil
}

// EventKind is what a delivery is about.
type EventKind int

const (
	// UnknownEvent is any event that is not about people: acknowledge, count and drop it.
	UnknownEvent EventKind = iota
	// PersonCreated carries the whole person.
	PersonCreated
	// PersonUpdated carries the whole person too.
	PersonUpdated
	// PersonDeleted carries at least the ID.
	PersonDeleted
)

// Event is one webhook delivery. It has no ID of its own: kind, PersonID and UpdatedAt identify what happened, however often
// it is delivered.
type Event struct {
	Kind      EventKind
	Name      string    // the event header as received
	PersonID  int64     // 0 for UnknownEvent
	UpdatedAt time.Time // zero when a deletion did not say
	Person    *Person   // nil for UnknownEvent, and for a deletion whose body is not the whole person
}

// ParseWebhook reads the body of a verified delivery: the bare resource, or one under "data". An event of another family is
// an UnknownEvent and its body is not read. The error is a *FieldError, which holds no values.
func ParseWebhook(event string, body []byte) (Event, error) {
	parsed := Event{Name: event}
	switch strings.ToLower(strings.TrimSpace(event)) {
	case "person_created":
		parsed.Kind = PersonCreated
	case "person_updated":
		parsed.Kind = PersonUpdated
	case "person_deleted":
		parsed.Kind = PersonDeleted
	default:
		return parsed, nil
	}
	// A body that is a person, as nearly all are, is read once. One under "data" has no ID, and so is none.
	raw := json.RawMessage(body)
	person, err := ParsePerson(raw)
	if err != nil {
		if raw, err = unwrap(body); err == nil {
			person, err = ParsePerson(raw)
		}
	}
	if err == nil {
		parsed.PersonID, parsed.UpdatedAt, parsed.Person = person.ID, person.UpdatedAt, &person
		return parsed, nil
	}
	if parsed.Kind != PersonDeleted {
		return Event{}, err
	}
	// What a deletion's body holds is not documented, and of a person who is gone the ID is all that is needed.
	parsed.PersonID, parsed.UpdatedAt, _ = parseIdentity(raw)
	if parsed.PersonID <= 0 {
		return Event{}, err
	}
	return parsed, nil
}

// unwrap returns the resource itself: a person has an id, an envelope has data and no id.
func unwrap(body []byte) (json.RawMessage, error) {
	object, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	if _, bare := object["id"]; !bare && !isNull(object["data"]) {
		return object["data"], nil
	}
	return body, nil
}
