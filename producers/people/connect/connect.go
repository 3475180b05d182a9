// Package connect owns the way from settings to a Salesloft client: credentials that rotate, the grant that all processes of
// the producer share, the team's budget, and the watch over the source.
package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"gocloud.dev/secrets"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/producers/people"
	"github.com/revstream/revstream/producers/recording"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/state"
)

// Config says where Salesloft is and with what to be let in. Embed it in a binary's settings.
type Config struct {
	BaseURL      string     `name:"salesloft-base-url" env:"SALESLOFT_BASE_URL" default:"https://api.salesloft.com/v2" help:"Salesloft's API." group:"Salesloft"`
	TokenURL     string     `name:"salesloft-token-url" env:"SALESLOFT_TOKEN_URL" default:"https://accounts.salesloft.com/oauth/token" help:"Salesloft's token endpoint." group:"Salesloft"`
	APIKey       secret.Ref `name:"salesloft-api-key" env:"SALESLOFT_API_KEY" placeholder:"SECRET" help:"API key; instead of the client's ID and secret." group:"Salesloft"`
	ClientID     string     `name:"salesloft-client-id" env:"SALESLOFT_CLIENT_ID" placeholder:"ID" help:"OAuth client." group:"Salesloft"`
	ClientSecret secret.Ref `name:"salesloft-client-secret" env:"SALESLOFT_CLIENT_SECRET" placeholder:"SECRET" help:"The OAuth client's secret." group:"Salesloft"`
	RefreshToken secret.Ref `name:"salesloft-refresh-token" env:"SALESLOFT_REFRESH_TOKEN" placeholder:"SECRET" help:"Refresh token of the OAuth authorisation; its successors are kept in the producer's state, encrypted. Without it the client asks for its own token." group:"Salesloft"`

	KeeperURL secret.Ref `name:"state-keeper-url" env:"STATE_KEEPER_URL" placeholder:"URL" help:"Key that encrypts tokens in the producer's state: base64key://…, awskms://… or gcpkms://…. Required with a refresh token." group:"Salesloft"`

	BudgetPerMinute int     `name:"salesloft-budget-per-minute" env:"SALESLOFT_BUDGET_PER_MINUTE" default:"600" help:"Cost points a minute that the team has, with all its integrations." group:"Salesloft"`
	BudgetShare     float64 `name:"salesloft-budget-share" env:"SALESLOFT_BUDGET_SHARE" default:"0.5" help:"Share of the team's points that this process spends at most." group:"Salesloft"`

	RecordDir string `name:"http-record-dir" env:"HTTP_RECORD_DIR" placeholder:"DIR" type:"path" help:"Record the exchanges with the source here, without secrets and personal data; nowhere if empty." group:"Process"`
}

// Validate names every setting that is wrong. It does no I/O. It is no method, as kong would call that before it looks for
// settings that are missing.
func Validate(cfg Config) error {
	return errors.Join(cfg.credentials(), cfg.budget(false).Validate())
}

func (cfg Config) credentials() error {
	switch {
	case cfg.APIKey == "" && cfg.ClientID == "" && cfg.ClientSecret == "" && cfg.RefreshToken == "":
		return errors.New("no Salesloft credentials: set SALESLOFT_API_KEY, or SALESLOFT_CLIENT_ID and SALESLOFT_CLIENT_SECRET")
	case cfg.APIKey != "" && (cfg.ClientID != "" || cfg.ClientSecret != "" || cfg.RefreshToken != ""):
		return errors.New("SALESLOFT_API_KEY excludes SALESLOFT_CLIENT_ID, SALESLOFT_CLIENT_SECRET and SALESLOFT_REFRESH_TOKEN: unset the one or the others")
	case cfg.APIKey == "" && (cfg.ClientID == "" || cfg.ClientSecret == ""):
		return errors.New("SALESLOFT_CLIENT_ID and SALESLOFT_CLIENT_SECRET (or SALESLOFT_CLIENT_SECRET_FILE) go together: one of them is not set")
	case cfg.RefreshToken != "" && cfg.KeeperURL == "":
		return errors.New("STATE_KEEPER_URL (or STATE_KEEPER_URL_FILE, or --state-keeper-url) is required with SALESLOFT_REFRESH_TOKEN, " +
			"as the tokens that come after it are kept encrypted: " + makeKey)
	}
	return nil
}

// makeKey says how to come by a keeper. Its URLs want the alphabet of URLs.
const makeKey = "make one with `echo base64key://$(openssl rand -base64 32 | tr +/ -_)`, or name a key of awskms:// or gcpkms://"

func (cfg Config) budget(background bool) salesloft.BudgetConfig {
	return salesloft.BudgetConfig{PerMinute: cfg.BudgetPerMinute, Share: cfg.BudgetShare, Background: background}
}

// SharesGrant says that the grant of the credentials is in the producer's state: with a refresh token in any case, and for a
// client of its own if there is a keeper.
func (cfg Config) SharesGrant() bool { return cfg.APIKey == "" && cfg.KeeperURL != "" }

// Connection is a client with what belongs to it.
type Connection struct {
	Client  *salesloft.Client
	Monitor *resilience.Monitor

	rt     *daemon.Runtime
	api    salesloft.Config
	http   *http.Client
	keeper *secrets.Keeper // nil without a keeper's URL
	tokens people.Tokens
}

// Open opens the credentials, which it follows until the process stops. With SharesGrant, Keep must be called
// before the first request.
func Open(ctx context.Context, cfg Config, rt *daemon.Runtime) (*Connection, error) {
	c := &Connection{rt: rt, api: salesloft.Config{
		BaseURL: cfg.BaseURL, TokenURL: cfg.TokenURL, ClientID: cfg.ClientID, Budget: cfg.budget(false), Metrics: rt.Registry,
	}}
	if err := c.openSecrets(ctx, cfg); err != nil {
		return nil, err
	}
	c.Monitor = resilience.NewMonitor(resilience.MonitorConfig{}, func(ctx context.Context) error {
		_, err := c.Client.Me(ctx)
		return err
	})
	next := c.Monitor.Transport(nil)
	if cfg.RecordDir != "" {
		recorder, err := recording.New(cfg.RecordDir, next)
		if err != nil {
			return nil, err
		}
		rt.Defer("recording", func(context.Context) error { return recorder.Close() })
		next = recorder
	}
	metrics, err := resilience.NewMetrics(rt.Registry, "salesloft")
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: resilience.NewTransport(resilience.TransportConfig{Metrics: metrics}, rt.Logger, next)}
	c.Client, err = salesloft.New(c.api, rt.Logger, c.http)
	return c, err
}

func (c *Connection) openSecrets(ctx context.Context, cfg Config) error {
	for _, credential := range []struct {
		name  string
		ref   secret.Ref
		value *func() string
		renew *func(context.Context, string) string
	}{
		{"SALESLOFT_API_KEY", cfg.APIKey, &c.api.APIKey, &c.api.RenewAPIKey},
		{"SALESLOFT_CLIENT_SECRET", cfg.ClientSecret, &c.api.ClientSecret, &c.api.RenewClientSecret},
		{"SALESLOFT_REFRESH_TOKEN", cfg.RefreshToken, &c.api.RefreshToken, nil},
	} {
		if credential.ref == "" {
			continue
		}
		value, err := Secret(ctx, c.rt, credential.name, credential.ref)
		if err != nil {
			return err
		}
		*credential.value = value.Get
		if credential.renew != nil {
			*credential.renew = value.Renew
		}
	}
	if !cfg.SharesGrant() {
		return nil
	}
	url, err := secret.Read(ctx, "STATE_KEEPER_URL", cfg.KeeperURL)
	if err != nil {
		return err
	}
	if c.keeper, err = openKeeper(ctx, url); err != nil {
		return err
	}
	c.rt.Defer("state keeper", func(context.Context) error { return c.keeper.Close() })
	c.api.TokenStore = &c.tokens
	return nil
}

func openKeeper(ctx context.Context, url string) (*secrets.Keeper, error) {
	keeper, err := secrets.OpenKeeper(ctx, url)
	switch scheme, _, _ := strings.Cut(url, "://"); {
	case err == nil:
		return keeper, nil
	case scheme == "awskms", scheme == "gcpkms":
		return nil, fmt.Errorf("STATE_KEEPER_URL: %w", err)
	}
	return nil, errors.New("STATE_KEEPER_URL is not the URL of a key: " + makeKey) // the driver's error quotes it
}

// Keep says where the grant is kept. The client waits, when the process stops, until a grant that is under way is stored, and
// so the store's Kafka client must have been deferred before.
func (c *Connection) Keep(store *state.Store) {
	if c.keeper != nil {
		c.tokens = people.Tokens{State: store, Sealed: store.Sealed(c.keeper)}
	}
	c.rt.Defer("salesloft client", c.Client.Close)
}

// Background returns another client on the same connection and grant, which makes room for everybody else in the budget.
func (c *Connection) Background() (*salesloft.Client, error) {
	api := c.api
	api.Budget.Background, api.Metrics = true, nil // the first one's metrics speak for the process
	client, err := salesloft.New(api, c.rt.Logger, c.http)
	if err == nil {
		c.rt.Defer("salesloft client in the background", client.Close)
	}
	return client, err
}

// Secret follows a secret until the process stops, and shows its age.
func Secret(ctx context.Context, rt *daemon.Runtime, name string, ref secret.Ref) (*secret.Value, error) {
	value, err := secret.Open(ctx, name, ref)
	if err != nil {
		return nil, err
	}
	rt.Defer(name, func(context.Context) error { return value.Close() })
	return value, secret.Register(rt.Registry, name, value)
}
