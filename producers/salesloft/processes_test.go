package salesloft_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

// TestProcessesRenewOnce: clients with one store are replicas and tools of one authorisation. A refresh token that was used
// twice would end it for all.
func TestProcessesRenewOnce(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*salesloft.Config){
		"refresh token":      func(*salesloft.Config) {},
		"client credentials": func(cfg *salesloft.Config) { cfg.RefreshToken = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, salesloftest.Config{ReuseRevokes: true})
			change(&w.cfg)
			clients := make([]*salesloft.Client, 5)
			for i := range clients {
				clients[i] = newClient(t, w, w.cfg)
			}
			for round := range 6 {
				if round%2 == 0 {
					w.ExpireTokens() // before their time
				} else {
					w.advance(3 * time.Hour)
				}
				group, ctx := errgroup.WithContext(t.Context())
				for i := range 40 {
					group.Go(func() error {
						_, err := clients[i%len(clients)].Me(ctx)
						return err
					})
				}
				require.NoError(t, group.Wait())
				require.Equal(t, round+1, w.Stats().TokensIssued)
			}
		})
	}
}

// TestWhoHasATokenWaitsForNobody: another process holds the lock, and may do so for long.
func TestWhoHasATokenWaitsForNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	old := newClient(t, w, w.cfg)
	_, err := old.Me(t.Context())
	require.NoError(t, err)
	unlock, err := w.store.Lock(t.Context())
	require.NoError(t, err)

	started := newClient(t, w, w.cfg)
	_, err = started.Me(t.Context())
	require.NoError(t, err, "a process that starts takes what is stored")

	w.advance(2*time.Hour - 2*time.Minute)
	first := w.store.stored()
	for range 20 {
		_, err = old.Me(t.Context())
		require.NoError(t, err, "its token is due, and good for two minutes")
	}
	require.Equal(t, 1, w.Stats().TokensIssued)

	unlock()
	require.Eventually(t, func() bool { return w.store.stored() != first }, 10*time.Second, time.Millisecond, "renewed in the background")
	require.Equal(t, 2, w.Stats().TokensIssued)

	w.advance(2 * time.Minute)
	_, err = started.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, w.Stats().TokensIssued, "what the other process has renewed is taken")
}

func TestWaitingForTheLockEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	client := newClient(t, w, w.cfg)
	unlock, err := w.store.Lock(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := client.Me(ctx)
		failed <- err
	}()
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	unlock()
	require.NoError(t, client.Close(t.Context()))
}

// TestRefusedGrantIsShownOnceAMinute: every request of the client would otherwise be one to the token endpoint too.
func TestRefusedGrantIsShownOnceAMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	client, configured := newClient(t, w, w.cfg), newClient(t, w, w.cfg)
	_, err := client.Me(t.Context())
	require.NoError(t, err)
	w.RevokeRefreshToken()
	w.ExpireTokens()
	w.events.take()
	for range 30 {
		_, err = client.Me(t.Context())
		require.ErrorIs(t, err, salesloft.ErrInvalidGrant)
	}
	require.Equal(t, 2, strings.Count(w.events.take(), "token"), "the stored one and the configured one")
	w.advance(61 * time.Second)
	for range 30 {
		_, err = client.Me(t.Context())
		require.ErrorIs(t, err, salesloft.ErrInvalidGrant)
	}
	require.Equal(t, 2, strings.Count(w.events.take(), "token"))

	w.AuthoriseAgain("refresh-new")
	_, err = configured.Me(t.Context())
	require.ErrorIs(t, err, salesloft.ErrInvalidGrant, "it has the old one still")
	w.configure("refresh-new")
	_, err = configured.Me(t.Context())
	require.NoError(t, err)
	w.configure("refresh-0") // where the refused client runs nobody has configured anything
	_, err = client.Me(t.Context())
	require.NoError(t, err, "and finds what another process has stored, at once")
}

// TestStoredTokenMayBeDeadToo: what the store has was revoked together with the token that was refused.
func TestStoredTokenMayBeDeadToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	one, two := newClient(t, w, w.cfg), newClient(t, w, w.cfg)
	_, err := one.Me(t.Context())
	require.NoError(t, err)
	_, err = two.Me(t.Context())
	require.NoError(t, err)
	w.ExpireTokens()
	_, err = two.Me(t.Context())
	require.NoError(t, err)
	w.ExpireTokens()
	_, err = one.Me(t.Context())
	require.NoError(t, err)
}

func TestUnstoredGrant(t *testing.T) {
	t.Parallel()
	t.Run("is stored when the client is closed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, salesloftest.Config{})
		client := newClient(t, w, w.cfg)
		w.store.set(salesloft.Grant{}, errors.New("no broker"))
		_, err := client.Me(t.Context())
		require.ErrorContains(t, err, "storing the new grant: no broker")
		require.ErrorContains(t, client.Close(t.Context()), "no broker")
		w.store.set(salesloft.Grant{}, nil)
		require.NoError(t, client.Close(t.Context()))
		_, err = newClient(t, w, w.cfg).Me(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, w.Stats().TokensIssued)
	})
	t.Run("gives way to an authorisation that came after it", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, salesloftest.Config{})
		client, other := newClient(t, w, w.cfg), newClient(t, w, w.cfg)
		w.store.set(salesloft.Grant{}, errors.New("no broker"))
		_, err := client.Me(t.Context())
		require.ErrorContains(t, err, "no broker")
		w.store.set(salesloft.Grant{}, nil)
		w.AuthoriseAgain("refresh-new")
		w.configure("refresh-new")
		_, err = other.Me(t.Context())
		require.NoError(t, err)
		w.advance(3 * time.Hour) // what the other one has stored is no more than a way to the next
		_, err = client.Me(t.Context())
		require.NoError(t, err)
	})
}

func TestRotatedSecretsAreReadOnceMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	asked := 0
	cfg := w.cfg
	cfg.ClientSecret = constant("rotated since")
	cfg.RenewClientSecret = func(_ context.Context, refused string) string {
		asked++
		require.Equal(t, "rotated since", refused)
		return "client-secret"
	}
	_, err := newClient(t, w, cfg).Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, asked)

	sim := newSim(t, salesloftest.Config{})
	for newer, want := range map[string]error{apiKey: nil, "rotated since": salesloft.ErrUnauthorized} {
		client := newClient(t, sim, salesloft.Config{
			APIKey:      constant("rotated since"),
			RenewAPIKey: func(context.Context, string) string { return newer },
		})
		_, err = client.Me(t.Context())
		require.ErrorIs(t, err, want)
	}
}

func TestScopesAndRefusalsAreToldApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Scopes: []string{"people:read", "people:write"}, SayExpired: true})
	client := newClient(t, w, w.cfg)
	require.Empty(t, client.Scopes())
	_, err := client.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"people:read", "people:write"}, client.Scopes())
	grant := w.store.stored()
	require.Equal(t, "people:read people:write", grant.Scope)
	for _, text := range []string{fmt.Sprint(grant), fmt.Sprintf("%+v", grant), fmt.Sprintf("%#v", grant), grant.LogValue().String()} {
		require.NotContains(t, text, grant.AccessToken)
		require.NotContains(t, text, grant.RefreshToken)
	}

	answers := func(status int, message string) error {
		_, err := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"error":%q}`, message)
		}), salesloft.Config{}).Me(t.Context())
		return err
	}
	expired := answers(http.StatusUnauthorized, "The access token Expired")
	require.ErrorIs(t, expired, salesloft.ErrExpired)
	require.ErrorIs(t, expired, salesloft.ErrUnauthorized)
	require.NotErrorIs(t, answers(http.StatusUnauthorized, "Invalid Bearer Token"), salesloft.ErrExpired)
	require.NotErrorIs(t, answers(http.StatusForbidden, "expired"), salesloft.ErrExpired)
}
