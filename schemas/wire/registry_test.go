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
