package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/embedded/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open starts a registry on a folder ("" for memory) and returns a client of it.
func open(t *testing.T, dir string) (*sr.Client, *registry.Registry) {
	t.Helper()
	schemas, err := registry.New(registry.Config{DataDir: dir}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, schemas.Open())
	server := httptest.NewServer(schemas)
	t.Cleanup(func() {
		server.Close()
		require.NoError(t, schemas.Close())
	})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := sr.NewClient(sr.URLs(server.URL), sr.HTTPClient(&http.Client{Transport: transport}))
	require.NoError(t, err)
	return client, schemas
}

func record(fields ...string) sr.Schema {
	return sr.Schema{Schema: `{"type":"record","name":"r","fields":[` + strings.Join(fields, ",") + `]}`}
}

const (
	id          = `{"name":"id","type":"string"}`
	idNumber    = `{"name":"id","type":"int"}`
	extra       = `{"name":"extra","type":"string"}`
	extraOption = `{"name":"extra","type":["null","string"],"default":null}`
	otherOption = `{"name":"other","type":["null","string"],"default":null}`
)

func setLevel(t *testing.T, client *sr.Client, subject string, level sr.CompatibilityLevel) {
	t.Helper()
	for _, result := range client.SetCompatibility(t.Context(), sr.SetCompatibility{Level: level}, subject) {
		require.NoError(t, result.Err)
	}
}

func TestCompatibilityLevels(t *testing.T) {
	t.Parallel()
	// Each step is registered in turn; the last one is judged.
	var (
		requiredAdded   = []sr.Schema{record(id), record(id, extra)}       // old data lacks the field
		requiredRemoved = []sr.Schema{record(id, extra), record(id)}       // old readers need the field
		optionAdded     = []sr.Schema{record(id), record(id, extraOption)} // either way fills it in
		typeChanged     = []sr.Schema{record(id), record(idNumber)}
		// Each step is fine, the first and the last are not.
		requiredInTwoSteps = []sr.Schema{record(id), record(id, extraOption), record(id, extra)}
		removedInTwoSteps  = []sr.Schema{record(id, extra), record(id, extraOption), record(id)}
	)
	for _, test := range []struct {
		name    string
		history []sr.Schema
		allowed []sr.CompatibilityLevel
		refused []sr.CompatibilityLevel
	}{
		{"required field added", requiredAdded,
			[]sr.CompatibilityLevel{sr.CompatNone, sr.CompatForward, sr.CompatForwardTransitive},
			[]sr.CompatibilityLevel{sr.CompatBackward, sr.CompatBackwardTransitive, sr.CompatFull, sr.CompatFullTransitive}},
		{"required field removed", requiredRemoved,
			[]sr.CompatibilityLevel{sr.CompatNone, sr.CompatBackward, sr.CompatBackwardTransitive},
			[]sr.CompatibilityLevel{sr.CompatForward, sr.CompatForwardTransitive, sr.CompatFull, sr.CompatFullTransitive}},
		{"optional field added", optionAdded,
			[]sr.CompatibilityLevel{sr.CompatNone, sr.CompatBackward, sr.CompatBackwardTransitive, sr.CompatForward, sr.CompatForwardTransitive,
				sr.CompatFull, sr.CompatFullTransitive}, nil},
		{"type changed", typeChanged,
			[]sr.CompatibilityLevel{sr.CompatNone},
			[]sr.CompatibilityLevel{sr.CompatBackward, sr.CompatBackwardTransitive, sr.CompatForward, sr.CompatForwardTransitive,
				sr.CompatFull, sr.CompatFullTransitive}},
		{"required in two steps", requiredInTwoSteps,
			[]sr.CompatibilityLevel{sr.CompatForward, sr.CompatForwardTransitive}, []sr.CompatibilityLevel{sr.CompatBackwardTransitive, sr.CompatFullTransitive}},
		{"removed in two steps", removedInTwoSteps,
			[]sr.CompatibilityLevel{sr.CompatBackward, sr.CompatBackwardTransitive}, []sr.CompatibilityLevel{sr.CompatForwardTransitive, sr.CompatFullTransitive}},
	} {
		for _, level := range append(test.allowed, test.refused...) {
			allowed := !slices.Contains(test.refused, level)
			t.Run(test.name+" "+level.String(), func(t *testing.T) {
				t.Parallel()
				judge(t, level, test.history, allowed)
			})
		}
	}
}

func judge(t *testing.T, level sr.CompatibilityLevel, history []sr.Schema, allowed bool) {
	t.Helper()
	client, _ := open(t, "")
	setLevel(t, client, "s", sr.CompatNone)
	last := len(history) - 1
	for _, schema := range history[:last] {
		_, err := client.CreateSchema(t.Context(), "s", schema)
		require.NoError(t, err)
	}
	setLevel(t, client, "s", level)
	check, err := client.CheckCompatibility(sr.WithParams(t.Context(), sr.Verbose), "s", -2, history[last])
	require.NoError(t, err)
	require.Equal(t, allowed, check.Is)
	_, err = client.CreateSchema(t.Context(), "s", history[last])
	if allowed {
		require.NoError(t, err)
		return
	}
	require.NotEmpty(t, check.Messages)
	var failure *sr.ResponseError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, http.StatusConflict, failure.StatusCode)
	require.Equal(t, http.StatusConflict, failure.ErrorCode)
	require.Regexp(t, `subject "s": not (BACK|FOR)WARD compatible, .*version \d.*(extra|id)`, failure.Message)
	// It is not registered, and holds no place.
	versions, err := client.SubjectVersions(t.Context(), "s")
	require.NoError(t, err)
	require.Len(t, versions, last)
}

func TestGlobalLevelAndOneVersion(t *testing.T) {
	t.Parallel()
	client, _ := open(t, "")
	// BACKWARD is the level of a registry that was told nothing.
	_, err := client.CreateSchema(t.Context(), "s", record(id))
	require.NoError(t, err)
	_, err = client.CreateSchema(t.Context(), "s", record(id, extra))
	require.ErrorContains(t, err, "BACKWARD")
	setLevel(t, client, "", sr.CompatForward)
	_, err = client.CreateSchema(t.Context(), "s", record(id, extra))
	require.NoError(t, err)
	setLevel(t, client, "s", sr.CompatBackward)
	for version, compatible := range map[int]bool{1: false, 2: true, -1: true} {
		check, err := client.CheckCompatibility(t.Context(), "s", version, record(id, extra, otherOption))
		require.NoError(t, err)
		require.Equal(t, compatible, check.Is, version)
	}
	_, err = client.CheckCompatibility(t.Context(), "s", 9, record(id))
	requireCode(t, err, http.StatusNotFound, sr.ErrVersionNotFound.Code)
	check, err := client.CheckCompatibility(t.Context(), "unknown", -2, record(id))
	require.NoError(t, err)
	require.True(t, check.Is)
}

func requireCode(t *testing.T, err error, status, code int) {
	t.Helper()
	var failure *sr.ResponseError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, status, failure.StatusCode)
	require.Equal(t, code, failure.ErrorCode)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	client, _ := open(t, "")
	ctx := t.Context()
	_, err := client.SchemaByID(ctx, 77)
	requireCode(t, err, http.StatusNotFound, sr.ErrSchemaNotFound.Code)
	for _, schema := range []sr.Schema{
		{Schema: `{"type":"nope"}`}, {Schema: `{`}, {Schema: `{"type":"record","name":"r","fields":[{"name":"a","type":"Missing"}]}`},
		{Schema: `{}`, Type: sr.TypeJSON}, {Schema: `"string"`, References: []sr.SchemaReference{{Name: "x", Subject: "x", Version: 1}}},
	} {
		_, err = client.CreateSchema(ctx, "s", schema)
		requireCode(t, err, http.StatusUnprocessableEntity, sr.ErrInvalidSchema.Code)
		_, err = client.CheckCompatibility(ctx, "s", -2, schema)
		requireCode(t, err, http.StatusUnprocessableEntity, sr.ErrInvalidSchema.Code)
	}
	subjects, err := client.Subjects(ctx)
	require.NoError(t, err)
	require.Empty(t, subjects)
}

func TestReferences(t *testing.T) {
	t.Parallel()
	client, _ := open(t, "")
	_, err := client.CreateSchema(t.Context(), "money", sr.Schema{Schema: `{"type":"record","name":"Money","fields":[` + id + `]}`})
	require.NoError(t, err)
	referring := record(`{"name":"amount","type":"Money"}`)
	referring.References = []sr.SchemaReference{{Name: "Money", Subject: "money", Version: 1}}
	_, err = client.CreateSchema(t.Context(), "s", referring)
	require.NoError(t, err)
	referring.Schema = record(`{"name":"amount","type":"Money"}`, extra).Schema
	_, err = client.CreateSchema(t.Context(), "s", referring)
	require.ErrorContains(t, err, "extra")
}

// snapshot is everything that a client can see.
func snapshot(t *testing.T, client *sr.Client) string {
	t.Helper()
	ctx := sr.WithParams(t.Context(), sr.ShowDeleted)
	all, err := client.AllSchemas(ctx)
	require.NoError(t, err)
	var levels []string
	for _, result := range client.Compatibility(t.Context(), "", "a", "b", "c") {
		require.NoError(t, result.Err)
		levels = append(levels, result.Level.String())
	}
	text, err := json.MarshalIndent(map[string]any{"schemas": all, "levels": levels}, "", " ")
	require.NoError(t, err)
	return string(text)
}

func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	client, schemas := open(t, dir)
	ctx := t.Context()
	setLevel(t, client, "", sr.CompatFullTransitive)
	setLevel(t, client, "b", sr.CompatNone)
	first, err := client.CreateSchema(ctx, "a", record(id))
	require.NoError(t, err)
	second, err := client.CreateSchema(ctx, "a", record(id, extraOption))
	require.NoError(t, err)
	require.NotEqual(t, first.ID, second.ID)
	// One content has one ID, in whatever subject and however often and however it is spaced.
	spaced := record(id)
	spaced.Schema = strings.ReplaceAll(spaced.Schema, ",", " , ")
	for _, subject := range []string{"a", "b", "c"} {
		again, err := client.CreateSchema(ctx, subject, spaced)
		require.NoError(t, err)
		require.Equal(t, first.ID, again.ID)
	}
	_, err = client.CreateSchema(ctx, "c", record(idNumber))
	require.ErrorContains(t, err, "FORWARD", "refused, so it leaves no trace")
	_, err = client.CreateSchema(ctx, "b", record(idNumber))
	require.NoError(t, err)
	_, err = client.DeleteSubject(ctx, "c", sr.SoftDelete)
	require.NoError(t, err)
	before := snapshot(t, client)
	require.NoError(t, schemas.Close())
	_, err = client.CreateSchema(ctx, "a", record(id))
	requireCode(t, err, http.StatusInternalServerError, sr.ErrStoreError.Code)

	client, schemas = open(t, dir)
	require.Equal(t, before, snapshot(t, client))
	found, err := client.LookupSchema(ctx, "a", record(id, extraOption))
	require.NoError(t, err)
	require.Equal(t, second.ID, found.ID)
	require.Equal(t, 2, found.Version)
	_, err = client.CreateSchema(ctx, "a", record(id, extra))
	require.ErrorContains(t, err, "BACKWARD", "the level survives too")
	next, err := client.CreateSchema(ctx, "a", record(id, otherOption))
	require.NoError(t, err)
	require.Equal(t, 4, next.ID, "IDs go on where they were")
	require.NoError(t, schemas.Close())
}

// What is on disk when an answer is out is what a crash leaves; what a crash tears is what no one was told of.
func TestCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	client, _ := open(t, dir)
	created, err := client.CreateSchema(t.Context(), "a", record(id))
	require.NoError(t, err)
	crashed := t.TempDir()
	data, err := os.ReadFile(filepath.Join(dir, "journal.jsonl"))
	require.NoError(t, err)
	torn := filepath.Join(crashed, "journal.jsonl")
	require.NoError(t, os.WriteFile(torn, append(data, data[:len(data)/2]...), 0o600))

	client, schemas := open(t, crashed)
	found, err := client.SchemaByID(t.Context(), created.ID)
	require.NoError(t, err)
	require.Equal(t, record(id).Schema, found.Schema)
	_, err = client.CreateSchema(t.Context(), "a", record(id, extraOption))
	require.NoError(t, err)
	require.NoError(t, schemas.Close())
	client, _ = open(t, crashed)
	versions, err := client.SubjectVersions(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, versions)
}

func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(string) string{
		"no JSON":          func(text string) string { return "x" + text },
		"a change is lost": func(text string) string { return text[strings.IndexByte(text, '\n')+1:] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			client, schemas := open(t, dir)
			for _, schema := range []sr.Schema{record(id), record(id, extraOption)} {
				_, err := client.CreateSchema(t.Context(), "a", schema)
				require.NoError(t, err)
			}
			require.NoError(t, schemas.Close())
			path := filepath.Join(dir, "journal.jsonl")
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, []byte(damage(string(text))), 0o600))
			damaged, err := registry.New(registry.Config{DataDir: dir}, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			require.ErrorContains(t, damaged.Open(), "the journal is not usable")
		})
	}
}

// Registrations at once: one content one ID, all of them on disk.
func TestConcurrentRegistrations(t *testing.T) {
	t.Parallel()
	const subjects, schemas = 8, 5
	dir := t.TempDir()
	client, opened := open(t, dir)
	type result struct {
		schema, id int
		err        error
	}
	results := make(chan result, subjects*schemas)
	for subject := range subjects {
		go func() {
			for n := range schemas {
				created, err := client.CreateSchema(context.WithoutCancel(t.Context()), fmt.Sprintf("s%d", subject),
					record(id, fmt.Sprintf(`{"name":"f%d","type":"int","default":0}`, n)))
				results <- result{n, created.ID, err}
			}
		}()
	}
	ids := map[int]int{}
	for range subjects * schemas {
		got := <-results
		require.NoError(t, got.err)
		if known, ok := ids[got.schema]; ok {
			require.Equal(t, known, got.id)
		}
		ids[got.schema] = got.id
	}
	require.Len(t, ids, schemas)
	require.NoError(t, opened.Close())
	client, _ = open(t, dir)
	all, err := client.AllSchemas(t.Context())
	require.NoError(t, err)
	require.Len(t, all, subjects*schemas)
}

func TestContextsAreRefused(t *testing.T) {
	t.Parallel()
	schemas, err := registry.New(registry.Config{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	answer := httptest.NewRecorder()
	schemas.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/contexts/.x/subjects/a/versions", strings.NewReader(`{"schema":"\"int\""}`)))
	require.Equal(t, http.StatusNotFound, answer.Code)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "no contexts")
}
