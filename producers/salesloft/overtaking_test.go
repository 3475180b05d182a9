package salesloft

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAnswersOvertakeEachOther: of two requests that are on their way while the minute turns, the later one is answered first.
func TestAnswersOvertakeEachOther(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		earlier int // what the answer that comes last says is left
		known   int
	}{
		{"charged before the turn", 13, 598},
		{"charged after the turn", 599, 598},
	} {
		now := time.Date(2025, 5, 5, 5, 5, 59, 0, time.UTC)
		m, err := newMetrics(nil)
		require.NoError(t, err)
		cfg := BudgetConfig{PerMinute: 600, Share: 1}
		b := newBudget(cfg, func() time.Time { return now }, func(context.Context, time.Duration) error {
			require.Fail(t, "nothing to wait for", test.name)
			return nil
		}, m)
		acquire := func() fare {
			f, err := b.acquire(t.Context(), 1)
			require.NoError(t, err)
			return f
		}
		b.settle(acquire(), RateLimit{Cost: 1, Remaining: 16})
		earlier, later := acquire(), acquire()
		now = now.Add(2 * time.Second)
		b.settle(later, RateLimit{Cost: 1, Remaining: 598})
		turned := b.seen.to
		now = now.Add(time.Second)
		b.settle(earlier, RateLimit{Cost: 1, Remaining: test.earlier})
		require.Equal(t, turned, b.seen.to, test.name)
		require.Equal(t, test.known, b.known.remaining, test.name)
		acquire()
	}
}
