package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/revstream/revstream/schemas"
)

// requestTimeout bounds one call to the registry.
const requestTimeout = 10 * time.Second

// Registry is a client of a Confluent-compatible schema registry.
type Registry struct{ client *sr.Client }

// NewRegistry makes a client of the registry at a base URL, which may carry
// basic credentials as http://user:password@host:8081. It does no I/O. Its
// errors never hold the URL, for the sake of those credentials.
func NewRegistry(baseURL string) (*Registry, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("SCHEMA_REGISTRY_URL is not an http or https URL")
	}
	opts := []sr.ClientOpt{sr.HTTPClient(&http.Client{Timeout: requestTimeout})}
	if u.User != nil {
		password, _ := u.User.Password()
		opts = append(opts, sr.BasicAuth(u.User.Username(), password))
		u.User = nil
	}
	client, err := sr.NewClient(append(opts, sr.URLs(u.String()))...)
	if err != nil {
		return nil, fmt.Errorf("making the registry client: %w", err)
	}
	return &Registry{client: client}, nil
}

// Ping asks the registry for its global compatibility level: the readiness check.
func (r *Registry) Ping(ctx context.Context) error {
	for _, res := range r.client.Compatibility(ctx) {
		if res.Err != nil {
			return fmt.Errorf("reaching the schema registry: %w", res.Err)
		}
	}
	return nil
}

// SchemaText returns the schema of an ID. An ID that the registry does not
// know is an InvalidError of ReasonUnknownSchema; every other error is transient.
func (r *Registry) SchemaText(ctx context.Context, id int) (string, error) {
	s, err := r.client.SchemaByID(ctx, id)
	var answer *sr.ResponseError
	switch {
	case err == nil:
		return s.Schema, nil
	case errors.As(err, &answer) && answer.ErrorCode == sr.ErrSchemaNotFound.Code:
		return "", &InvalidError{Class: ReasonUnknownSchema, Message: fmt.Sprintf("the registry has no schema %d", id), At: idAt}
	default:
		return "", fmt.Errorf("fetching schema %d: %w", id, err)
	}
}

// Registered is a schema as the registry knows it.
type Registered struct {
	ID      int
	Version int // within the subject, counted from 1
}

// Register makes a schema the subject's newest version, unless it is one
// already, and holds the subject to FULL_TRANSITIVE compatibility.
func (r *Registry) Register(ctx context.Context, topic, schema string) (Registered, error) {
	subject := schemas.Subject(topic)
	level := sr.SetCompatibility{Level: sr.CompatFullTransitive}
	for _, res := range r.client.SetCompatibility(ctx, level, subject) {
		if res.Err != nil {
			return Registered{}, fmt.Errorf("setting the compatibility of %s: %w", subject, res.Err)
		}
	}
	s, err := r.client.CreateSchema(ctx, subject, sr.Schema{Schema: schema, Type: sr.TypeAvro})
	if err != nil {
		return Registered{}, fmt.Errorf("registering %s: %w", subject, err)
	}
	return Registered{ID: s.ID, Version: s.Version}, nil
}

// Lookup finds a schema that was registered by somebody else; ErrNotRegistered if it was not.
func (r *Registry) Lookup(ctx context.Context, topic, schema string) (Registered, error) {
	s, err := r.client.LookupSchema(ctx, schemas.Subject(topic), sr.Schema{Schema: schema, Type: sr.TypeAvro})
	if isUnknown(err) {
		return Registered{}, fmt.Errorf("looking %s up: %w: %w", schemas.Subject(topic), ErrNotRegistered, err)
	}
	if err != nil {
		return Registered{}, fmt.Errorf("looking %s up: %w", schemas.Subject(topic), err)
	}
	return Registered{ID: s.ID, Version: s.Version}, nil
}

// Incompatibilities asks whether Register would be let make a schema the newest version of its subject, and returns in
// the registry's words what stands against it. It changes nothing.
func (r *Registry) Incompatibilities(ctx context.Context, topic, schema string) ([]string, error) {
	const everyVersion = -2
	ctx = sr.WithParams(ctx, sr.Verbose)
	result, err := r.client.CheckCompatibility(ctx, schemas.Subject(topic), everyVersion, sr.Schema{Schema: schema, Type: sr.TypeAvro})
	switch {
	case isUnknown(err): // the first version fits
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("checking the compatibility with %s: %w", schemas.Subject(topic), err)
	case !result.Is && len(result.Messages) == 0:
		return []string{"the registry does not say what"}, nil
	case !result.Is:
		return result.Messages, nil
	}
	return nil, nil
}

// isUnknown tells that the registry has no such subject, version or schema from its being away.
func isUnknown(err error) bool {
	answer, ok := errors.AsType[*sr.ResponseError](err)
	return ok && slices.Contains([]int{sr.ErrSubjectNotFound.Code, sr.ErrVersionNotFound.Code, sr.ErrSchemaNotFound.Code}, answer.ErrorCode)
}

// String is the schema-version header of records with this schema.
func (r Registered) String() string { return strconv.Itoa(r.Version) }
