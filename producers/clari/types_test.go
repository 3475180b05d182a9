package clari_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/clari"
)

// TestForecastTypesInEveryFormThatIsSuspected: nothing says what the list looks like.
func TestForecastTypesInEveryFormThatIsSuspected(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string][]string{
		`["a","b"]`: {"a", "b"},
		`[{"forecastId":"a","name":"A"},{"forecastId":"b"}]`: {"a", "b"},
		`{"forecastTypes":[{"id":7},{"type":"b"}]}`:          {"7", "b"},
		`{"data":["a"]}`: {"a"},
		`[]`:             {},
		`[{}]`:           nil,
		`{}`:             nil,
		`"a"`:            nil,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(answer))
		}))
		client, err := clari.New(clari.Config{BaseURL: server.URL + "/v1", APIKey: func() string { return "k" }}, slog.New(slog.DiscardHandler), server.Client())
		require.NoError(t, err)
		have, err := client.ForecastTypes(t.Context())
		server.Close()
		if want == nil {
			require.Error(t, err, answer)
			continue
		}
		require.NoError(t, err, answer)
		require.Equal(t, want, have, answer)
	}
}
