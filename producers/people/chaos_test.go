package people

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/chaos"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

// TestAChaoticSourceIsSyncedWhole: whatever a server, a proxy and the network do, each window that fails is made up for.
func TestAChaoticSourceIsSyncedWhole(t *testing.T) {
	t.Parallel()
	const people = 400
	w := newWorld(t, salesloftest.Config{Seed: 40, People: people, TieRun: 30, Chaos: chaos.Config{
		Unauthorized: 0.05, RateLimited: 0.05, ServerError: 0.1, Reset: 0.1, Stall: 0.01, HalfBody: 0.05, WrongType: 0.05, HTML: 0.05,
		StallFor: time.Minute, RetryAfter: chaos.RetryAfterNone, Seed: 40,
	}})
	left := 10
	p := w.start(func(_ *Config, api *salesloft.Config, deps *Deps) {
		api.PageSize = 10
		deps.Source = &meddlingSource{meddle: func(context.Context, int) error {
			if left--; left >= 0 {
				w.update(salesloftest.Change{Count: 3, SameInstant: left%2 == 0})
			}
			return nil
		}}
	})
	p.checkpointRows = 50
	windows := 1
	for ; p.RunOnce(t.Context()) != nil; windows++ {
		require.Less(t, windows, 200)
	}
	done := w.sim.Stats().Chaos
	for _, kind := range []chaos.Kind{chaos.Unauthorized, chaos.RateLimited, chaos.ServerError, chaos.Reset, chaos.HalfBody, chaos.WrongType, chaos.HTML} {
		require.Positive(t, done[kind], kind)
	}
	require.NoError(t, w.sim.Chaos(chaos.Config{}))
	w.requireNothingLost()
	require.Empty(t, w.letters(), "what came damaged is no record of the source")
	t.Logf("%d windows, %v", windows, done)
}
