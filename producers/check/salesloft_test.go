package check

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

const callback = "https://revstream.example/webhooks/salesloft"

// grants is a token store of one process.
type grants struct{ grant salesloft.Grant }

func (g *grants) Load(context.Context) (salesloft.Grant, error)       { return g.grant, nil }
func (g *grants) Save(_ context.Context, grant salesloft.Grant) error { g.grant = grant; return nil }
func (g *grants) Lock(context.Context) (func(), error)                { return func() {}, nil }

type people struct {
	t    *testing.T
	sim  *salesloftest.Simulator
	url  string
	pool *http.Client
}

func newPeople(t *testing.T, cfg salesloftest.Config) people {
	t.Helper()
	cfg.APIKeys, cfg.ClientID, cfg.ClientSecret, cfg.RefreshToken = []string{testKey}, "client", "client-secret", "first-refresh-token"
	sim, err := salesloftest.New(cfg)
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return people{t, sim, server.URL, &http.Client{Transport: transport}}
}

func (p people) client(api salesloft.Config) *salesloft.Client {
	p.t.Helper()
	api.BaseURL, api.TokenURL = p.url+"/v2", p.url+"/oauth/token"
	client, err := salesloft.New(api, slog.New(slog.DiscardHandler), p.pool)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { require.NoError(p.t, client.Close(context.WithoutCancel(p.t.Context()))) })
	return client
}

func (p people) check(api salesloft.Config, change func(*SalesloftConfig)) string {
	p.t.Helper()
	cfg := SalesloftConfig{
		BaseURL: p.url + "/v2", HTTP: p.pool, EventTypes: []string{"person_created", "person_updated"},
		Open: func(context.Context) (*salesloft.Client, error) { return p.client(api), nil },
	}
	if change != nil {
		change(&cfg)
	}
	out := lines(p.t, Run(p.t.Context(), nil, Salesloft(cfg)))
	for _, secret := range []string{testKey, "client-secret", "refresh-token", "s3cr3t"} {
		require.NotContains(p.t, out, secret)
	}
	return out
}

func key(value string) salesloft.Config {
	return salesloft.Config{APIKey: func() string { return value }}
}

func TestSalesloftCredentialsHaveThreeMessages(t *testing.T) {
	t.Parallel()
	p := newPeople(t, salesloftest.Config{People: 3, SayExpired: true})
	out := p.check(key(testKey), nil)
	require.Contains(t, out, "[PASS] Salesloft API: Connected (")
	require.Contains(t, out, "[PASS] Salesloft Credentials: Valid\n")
	require.Contains(t, out, "[PASS] Salesloft Budget: 59")
	require.Contains(t, out, "[PASS] Scope people:read: Granted\n")
	require.Contains(t, out, "[PASS] Scope webhook_subscriptions: Granted\n")
	require.NotContains(t, out, "FAIL")

	out = p.check(key("wrong"), nil)
	require.Contains(t, out, "[PASS] Salesloft API: Connected (")
	require.Contains(t, out, "[FAIL] Salesloft Credentials: REFUSED: ")
	require.Contains(t, out, "[SKIP] Scope people:read: needs Salesloft Credentials\n")

	secret, refresh := func() string { return "client-secret" }, func() string { return "first-refresh-token" }
	oauth := salesloft.Config{ClientID: "client", ClientSecret: secret, RefreshToken: refresh, TokenStore: &grants{}}
	require.Contains(t, p.check(oauth, nil), "[PASS] Salesloft Credentials: Valid; granted: people:read, people:write, people:delete\n")
	p.sim.RevokeRefreshToken()
	p.sim.ExpireTokens()
	require.Contains(t, p.check(oauth, nil), "[FAIL] Salesloft Credentials: EXPIRED OR REVOKED: the refresh token is refused — authorise the application again")
	oauth.ClientSecret = func() string { return "wrong" }
	require.Contains(t, p.check(oauth, nil), "[FAIL] Salesloft Credentials: REFUSED: ")

	lacking := newPeople(t, salesloftest.Config{Scopes: []string{"people:write"}})
	require.Contains(t, lacking.check(key(testKey), nil), "[FAIL] Scope people:read: LACKS PERMISSION: ")
}

func TestSalesloftThatIsAway(t *testing.T) {
	t.Parallel()
	p := newPeople(t, salesloftest.Config{})
	out := p.check(key(testKey), func(c *SalesloftConfig) { c.BaseURL = "http://127.0.0.1:1/v2" })
	require.Contains(t, out, "[FAIL] Salesloft API: UNREACHABLE: dial tcp 127.0.0.1:1")
	require.Contains(t, out, "[SKIP] Salesloft Credentials: needs Salesloft API\n")
	require.Contains(t, p.check(key(testKey), func(c *SalesloftConfig) { c.BaseURL = p.url + "/v9" }), "[FAIL] Salesloft API: knows no /v9/me: answers 404")
}

func TestSalesloftWebhooksAreComparedWithWhatIsWanted(t *testing.T) {
	t.Parallel()
	p := newPeople(t, salesloftest.Config{})
	webhooks := func(c *SalesloftConfig) {
		c.CallbackURL, c.WebhookSecret = callback, "s3cr3t"
	}
	out := p.check(key(testKey), nil)
	require.Contains(t, out, "[WARN] Webhook Receiver: OFF: ")
	require.Contains(t, out, "[WARN] Webhooks Subscribed: UNVERIFIED: ")

	client := p.client(key(testKey))
	_, err := client.CreateSubscription(t.Context(), "person_created", callback, "s3cr3t")
	require.NoError(t, err)
	out = p.check(key(testKey), webhooks)
	require.Contains(t, out, "[PASS] Webhook Receiver: On")
	require.Contains(t, out, "[WARN] Webhooks Subscribed: person_updated is not subscribed: ")
	_, err = client.CreateSubscription(t.Context(), "person_updated", callback, "another")
	require.NoError(t, err)
	require.Contains(t, p.check(key(testKey), webhooks), "[WARN] Webhooks Subscribed: person_updated is signed with another secret: ")
	_, err = client.CreateSubscription(t.Context(), "person_updated", callback, "s3cr3t")
	require.NoError(t, err)
	require.Contains(t, p.check(key(testKey), webhooks), "[PASS] Webhooks Subscribed: person_created, person_updated\n")
}
