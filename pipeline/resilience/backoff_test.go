package resilience

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackoffDoublesUpToItsCapAndAddsJitter(t *testing.T) {
	t.Parallel()
	plain := Backoff{Jitter: -1}.withDefaults()
	for n, want := range []int{250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000} {
		require.Equal(t, time.Duration(want)*time.Millisecond, plain.delay(n), "attempt %d", n)
	}
	require.Equal(t, 30*time.Second, plain.delay(1_000_000), "no overflow")

	jittered := Backoff{}.withDefaults()
	seen := map[time.Duration]bool{}
	for range 100 {
		d := jittered.delay(7)
		require.GreaterOrEqual(t, d, 30*time.Second)
		require.LessOrEqual(t, d, 30*time.Second+200*time.Millisecond)
		seen[d] = true
	}
	require.Greater(t, len(seen), 50)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"120":                            2 * time.Minute,
		"-5":                             0,
		"soon":                           0,
		"99999999999999999999":           (1<<31 - 1) * time.Second,
		"Fri, 02 Jan 2026 03:05:05 GMT":  time.Minute,
		"Friday, 02-Jan-26 03:05:05 GMT": time.Minute,
	} {
		resp := &http.Response{Header: http.Header{"Retry-After": {header}}}
		require.Equal(t, want, retryAfter(resp, now), header)
	}
	// By the source's own clock, which is an hour ahead.
	ahead := &http.Response{Header: http.Header{
		"Date": {"Fri, 02 Jan 2026 04:04:05 GMT"}, "Retry-After": {"Fri, 02 Jan 2026 04:04:35 GMT"},
	}}
	require.Equal(t, 30*time.Second, retryAfter(ahead, now))
	past := &http.Response{Header: http.Header{"Retry-After": {"Fri, 02 Jan 2026 03:00:00 GMT"}}}
	require.LessOrEqual(t, retryAfter(past, now), time.Duration(0))
	require.Zero(t, retryAfter(nil, now))
}
