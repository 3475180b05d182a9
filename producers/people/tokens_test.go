package people

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
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
