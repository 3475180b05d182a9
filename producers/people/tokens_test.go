package people

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"gocloud.dev/secrets/localsecrets"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
)

// TestTheGrantIsShared between processes, and nobody without the key can read it.
func TestTheGrantIsShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	one, two := w.start(nil), w.start(nil)
	tokens, others := w.tokens(one.state, [32]byte{1}), w.tokens(two.state, [32]byte{1})

	require.NoError(t, one.state.Save(t.Context(), grantName, map[string]string{"refresh_token": "in-clear"}), "as an earlier version did")
	got, err := others.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, salesloft.Grant{RefreshToken: "in-clear"}, got)

	grant := salesloft.Grant{AccessToken: "an-access", RefreshToken: "a-refresh", ExpiresAt: time.Unix(1_800_000_000, 0).UTC(), Scope: "people:read"}
	require.NoError(t, tokens.Save(t.Context(), grant))
	got, err = others.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, grant, got)
	records := pipelinetest.ReadAll(t, w.kafka, schemas.ProducerStateTopic)
	newest := string(records[len(records)-1].Value)
	require.NotContains(t, newest, "an-access")
	require.NotContains(t, newest, "a-refresh")

	_, err = w.tokens(two.state, [32]byte{2}).Load(t.Context())
	require.ErrorContains(t, err, "another key")

	unlock, err := tokens.Lock(t.Context())
	require.NoError(t, err)
	taken := make(chan struct{})
	go func() {
		unlockOthers, err := others.Lock(t.Context())
		if err == nil {
			close(taken)
			unlockOthers()
		}
	}()
	require.Empty(t, taken)
	unlock()
	<-taken
}

// ordered is a token store that looks at what the source has seen by the time of a Save.
type ordered struct {
	*Tokens
	sim      *salesloftest.Simulator
	requests []int
	fail     error
}

func (o *ordered) Save(ctx context.Context, grant salesloft.Grant) error {
	o.requests = append(o.requests, o.sim.Stats().Requests)
	if o.fail != nil {
		return o.fail
	}
	return o.Tokens.Save(ctx, grant)
}

// tokens are on a process's state, sealed with a key of their own.
func (w *world) tokens(store *state.Store, key [32]byte) *Tokens {
	keeper := localsecrets.NewKeeper(key)
	w.t.Cleanup(func() { require.NoError(w.t, keeper.Close()) })
	return &Tokens{State: store, Sealed: store.Sealed(keeper)}
}

func TestRefreshTokenIsStoredBeforeItIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{
		Seed: 11, People: 10, ClientID: "client", ClientSecret: "client-secret", RefreshToken: "first",
	})
	var tokens *ordered
	configured := "first"
	oauth := func(_ *Config, api *salesloft.Config, deps *Deps) {
		tokens = &ordered{Tokens: w.tokens(deps.State.(*state.Store), [32]byte{1}), sim: w.sim}
		api.ClientID, api.ClientSecret = "client", func() string { return "client-secret" }
		api.RefreshToken, api.TokenStore = func() string { return configured }, tokens
	}
	p := w.start(oauth)
	tokens.fail = fmt.Errorf("no broker")
	require.ErrorContains(t, p.RunOnce(t.Context()), "storing the new grant")
	tokens.fail = nil
	require.NoError(t, p.RunOnce(t.Context()))
	require.Equal(t, []int{0, 0}, tokens.requests, "no request may go out with a token that is not stored")
	require.Len(t, w.events(), 10)

	w.sim.ExpireTokens()
	w.update(salesloftest.Change{Count: 1})
	p = w.start(oauth)
	require.NoError(t, p.RunOnce(t.Context()), "the configured token is revoked by now: the stored one counts")
	w.requireNothingLost()

	w.sim.ExpireTokens()
	w.sim.RevokeRefreshToken()
	require.ErrorIs(t, p.RunOnce(t.Context()), salesloft.ErrInvalidGrant)
	_, err := p.Check(t.Context())
	require.ErrorContains(t, err, "authorise the application again")
	require.InDelta(t, 1, testutil.ToFloat64(p.metrics.authFailed), 0)

	w.sim.AuthoriseAgain("second")
	configured = "second"
	require.NoError(t, p.RunOnce(t.Context()))
	_, err = p.Check(t.Context())
	require.NoError(t, err)
	require.Zero(t, testutil.ToFloat64(p.metrics.authFailed))
}
