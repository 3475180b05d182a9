package connect

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestRequestsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		turns := &limited{roundTrip(func(*http.Request) (*http.Response, error) {
			sent++
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}), ratelimiter.NewSmooth[any](30, time.Minute)}
		get := func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://clari.test", nil)
			require.NoError(t, err)
			resp, err := turns.RoundTrip(req)
			if err == nil {
				err = resp.Body.Close()
			}
			return err
		}
		start := time.Now()
		for range 31 {
			require.NoError(t, get(t.Context()))
		}
		require.InDelta(t, time.Minute, time.Since(start), float64(2*time.Second), "31 requests at 30 a minute")
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.Error(t, get(ctx))
		require.Equal(t, 31, sent)
	})
}
