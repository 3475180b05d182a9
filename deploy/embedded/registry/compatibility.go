package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"
)

// readSchema reads a request that carries a schema, and answers it when it cannot be one.
func readSchema(w http.ResponseWriter, req *http.Request) ([]byte, sr.Schema, bool) {
	var schema sr.Schema
	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = json.Unmarshal(body, &schema)
	}
	if err == nil && schema.Type != sr.TypeAvro {
		err = fmt.Errorf("the embedded registry takes Avro schemas only, not %s", schema.Type)
	}
	if err != nil {
		writeError(w, http.StatusUnprocessableEntity, sr.ErrInvalidSchema.Code, "Invalid schema: "+err.Error())
		return nil, sr.Schema{}, false
	}
	return body, schema, true
}

// checkCompatibility answers whether a schema could be registered, against one version or as the level says.
func (r *Registry) checkCompatibility(w http.ResponseWriter, req *http.Request) {
	_, schema, ok := readSchema(w, req)
	if !ok {
		return
	}
	problems, err := r.incompatibilities(req.PathValue("subject"), req.PathValue("version"), schema)
	if err != nil {
		writeFailure(w, err)
		return
	}
	result := map[string]any{"is_compatible": len(problems) == 0}
	if req.URL.Query().Get("verbose") == "true" {
		result["messages"] = append([]string{}, problems...)
	}
	writeJSON(w, http.StatusOK, result)
}

// incompatibilities compares a schema with a subject's versions in the directions of the subject's level, and names what
// does not fit. Without a version it takes those that the level asks for: the latest, or all of them.
func (r *Registry) incompatibilities(subject, version string, schema sr.Schema) ([]string, error) {
	candidate, err := r.parse(schema)
	if err != nil {
		return nil, err
	}
	level, err := r.level(subject)
	if err != nil {
		return nil, err
	}
	versions := []string{version}
	if version == "" {
		if versions, err = r.versionsToCheck(subject, level); err != nil {
			return nil, err
		}
	}
	var problems []string
	for _, version := range versions {
		registered, err := r.registered(subject, version)
		if err != nil {
			return nil, err
		}
		existing, err := r.parse(registered.Schema)
		if err != nil {
			return nil, fmt.Errorf("reading %s version %d: %w", subject, registered.Version, err)
		}
		name := fmt.Sprintf("version %d", registered.Version)
		if reads(level, sr.CompatBackward, sr.CompatBackwardTransitive) {
			if err := avro.CheckCompatibility(existing, candidate); err != nil {
				problems = append(problems, fmt.Sprintf("not BACKWARD compatible, the new schema cannot read data of %s: %v", name, err))
			}
		}
		if reads(level, sr.CompatForward, sr.CompatForwardTransitive) {
			if err := avro.CheckCompatibility(candidate, existing); err != nil {
				problems = append(problems, fmt.Sprintf("not FORWARD compatible, %s cannot read data of the new schema: %v", name, err))
			}
		}
	}
	return problems, nil
}

// reads says whether a level includes a direction, given as the two levels of that direction alone.
func reads(level sr.CompatibilityLevel, direction ...sr.CompatibilityLevel) bool {
	return level == sr.CompatFull || level == sr.CompatFullTransitive || slices.Contains(direction, level)
}

func (r *Registry) versionsToCheck(subject string, level sr.CompatibilityLevel) ([]string, error) {
	var numbers []int
	err := r.get(subjectPath(subject)+"/versions", &numbers)
	var known *failure
	if errors.As(err, &known) && known.status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, number := range numbers {
		versions = append(versions, strconv.Itoa(number))
	}
	transitive := level == sr.CompatBackwardTransitive || level == sr.CompatForwardTransitive || level == sr.CompatFullTransitive
	if len(versions) > 1 && !transitive {
		versions = versions[len(versions)-1:]
	}
	return versions, nil
}

func (r *Registry) level(subject string) (sr.CompatibilityLevel, error) {
	var config struct {
		Level sr.CompatibilityLevel `json:"compatibilityLevel"`
	}
	err := r.get("/config/"+url.PathEscape(subject), &config)
	return config.Level, err
}

func (r *Registry) registered(subject, version string) (sr.SubjectSchema, error) {
	var found sr.SubjectSchema
	err := r.get(subjectPath(subject)+"/versions/"+url.PathEscape(version), &found)
	return found, err
}

// get reads something of srfake's.
func (r *Registry) get(uri string, into any) error {
	answer := r.call(http.MethodGet, uri, nil)
	if answer.status != http.StatusOK {
		var said struct {
			Code    int    `json:"error_code"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(answer.body, &said); err != nil {
			return fmt.Errorf("reading the answer %d to %s: %w", answer.status, uri, err)
		}
		return &failure{answer.status, said.Code, said.Message}
	}
	if err := json.Unmarshal(answer.body, into); err != nil {
		return fmt.Errorf("reading %s: %w", uri, err)
	}
	return nil
}

// parse compiles a schema, its references first.
func (r *Registry) parse(schema sr.Schema) (*avro.Schema, error) {
	var cache avro.SchemaCache
	return r.parseInto(&cache, schema, nil)
}

func (r *Registry) parseInto(cache *avro.SchemaCache, schema sr.Schema, through []string) (*avro.Schema, error) {
	for _, reference := range schema.References {
		name := fmt.Sprintf("%s version %d", reference.Subject, reference.Version)
		if slices.Contains(through, name) {
			return nil, invalidSchema("references go in a circle: %s", strings.Join(append(through, name), " → "))
		}
		found, err := r.registered(reference.Subject, strconv.Itoa(reference.Version))
		if err != nil {
			return nil, invalidSchema("reference %q: %v", reference.Name, err)
		}
		if _, err := r.parseInto(cache, found.Schema, append(slices.Clone(through), name)); err != nil {
			return nil, err
		}
	}
	parsed, err := cache.Parse(schema.Schema)
	if err != nil {
		return nil, invalidSchema("%v", err)
	}
	return parsed, nil
}

func invalidSchema(format string, args ...any) *failure {
	return &failure{http.StatusUnprocessableEntity, sr.ErrInvalidSchema.Code, "Invalid schema: " + fmt.Sprintf(format, args...)}
}
