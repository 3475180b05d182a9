package wire_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/schemas/wire"
)

// TestPingAsksForWhatEveryRegistryHas: the list of schema types is not among
// it, and a consumer was never ready for the lack of it.
func TestPingAsksForWhatEveryRegistryHas(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"compatibilityLevel":"BACKWARD"}`))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	registry, err := wire.NewRegistry(server.URL)
	require.NoError(t, err)
	require.NoError(t, registry.Ping(t.Context()))
	server.Close()
	require.Error(t, registry.Ping(t.Context()))
}

func TestNewRegistryHidesCredentials(t *testing.T) {
	t.Parallel()
	_, err := wire.NewRegistry("ftp://user:hunter2@registry:8081")
	require.ErrorContains(t, err, "SCHEMA_REGISTRY_URL")
	require.NotContains(t, err.Error(), "hunter2")
}

// TestLookupTellsUnknownFromAway: a checker that took the one for the other would send people to look at the wrong thing.
func TestLookupTellsUnknownFromAway(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /subjects/new-value", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error_code":40401,"message":"Subject 'new-value' not found."}`))
	})
	mux.HandleFunc("POST /compatibility/subjects/new-value/versions", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error_code":40401,"message":"Subject 'new-value' not found."}`))
	})
	mux.HandleFunc("POST /compatibility/subjects/other-value/versions", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"is_compatible":false}`))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	registry, err := wire.NewRegistry(server.URL)
	require.NoError(t, err)

	_, err = registry.Lookup(t.Context(), "new", `"string"`)
	require.ErrorIs(t, err, wire.ErrNotRegistered)
	problems, err := registry.Incompatibilities(t.Context(), "new", `"string"`)
	require.NoError(t, err)
	require.Empty(t, problems)
	problems, err = registry.Incompatibilities(t.Context(), "other", `"string"`)
	require.NoError(t, err)
	require.NotEmpty(t, problems)

	server.Close()
	_, err = registry.Lookup(t.Context(), "new", `"string"`)
	require.Error(t, err)
	require.NotErrorIs(t, err, wire.ErrNotRegistered)
	_, err = registry.Incompatibilities(t.Context(), "new", `"string"`)
	require.Error(t, err)
}
