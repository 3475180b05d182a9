package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/revstream/revstream/pipeline/secret"
)

// minToken is the fewest characters of a token that is accepted.
const minToken = 16

// Config says how to serve the page. Embed it in a binary's settings.
type Config struct {
	Addr      string `name:"addr" env:"DESK_ADDR" default:"127.0.0.1:8105" placeholder:"HOST:PORT" help:"Address of the page." group:"Desk"`
	TLSCert   string `name:"tls-cert" env:"DESK_TLS_CERT" placeholder:"FILE" help:"Certificate to serve HTTPS with (PEM)." group:"Desk"`
	TLSKey    string `name:"tls-key" env:"DESK_TLS_KEY" placeholder:"FILE" help:"Its key (PEM)." group:"Desk"`
	BehindTLS bool   `name:"behind-tls" env:"DESK_BEHIND_TLS" help:"A proxy serves HTTPS before the page, and adds the browser's address to X-Forwarded-For." group:"Desk"`

	OperatorToken secret.Ref `name:"operator-token" env:"DESK_OPERATOR_TOKEN" help:"Token of operators, who may act; at least 16 characters." group:"Desk"`
	ViewerToken   secret.Ref `name:"viewer-token" env:"DESK_VIEWER_TOKEN" help:"Token of viewers, who may look and plan; at least 16 characters." group:"Desk"`

	OIDCIssuer       string     `name:"oidc-issuer" env:"DESK_OIDC_ISSUER" placeholder:"URL" help:"OpenID Connect provider to sign in with." group:"Desk"`
	OIDCClientID     string     `name:"oidc-client-id" env:"DESK_OIDC_CLIENT_ID" placeholder:"ID" help:"The page's client ID there." group:"Desk"`
	OIDCClientSecret secret.Ref `name:"oidc-client-secret" env:"DESK_OIDC_CLIENT_SECRET" help:"Its secret; none for a public client." group:"Desk"`
	OIDCRedirectURL  string     `name:"oidc-redirect-url" env:"DESK_OIDC_REDIRECT_URL" placeholder:"URL" help:"Where the provider sends browsers back to: the page's address with the path /oidc/callback." group:"Desk"`
	OIDCScopes       []string   `name:"oidc-scopes" env:"DESK_OIDC_SCOPES" default:"profile,email" placeholder:"SCOPE" help:"Scopes to ask for beside openid, separated by commas." group:"Desk"`
	OIDCRoleClaim    string     `name:"oidc-role-claim" env:"DESK_OIDC_ROLE_CLAIM" default:"groups" placeholder:"CLAIM" help:"Claim of the ID token, a text or a list, that decides on the role." group:"Desk"`
	OIDCOperators    []string   `name:"oidc-operators" env:"DESK_OIDC_OPERATORS" placeholder:"VALUE" help:"Values of the claim that make an operator, separated by commas." group:"Desk"`
	OIDCViewers      []string   `name:"oidc-viewers" env:"DESK_OIDC_VIEWERS" placeholder:"VALUE" help:"Values of the claim that make a viewer, separated by commas." group:"Desk"`

	SessionIdle time.Duration `name:"session-idle" env:"DESK_SESSION_IDLE" default:"30m" help:"After which a session ends in which nothing is done." group:"Desk"`
	SessionMax  time.Duration `name:"session-max" env:"DESK_SESSION_MAX" default:"8h" help:"After which a session ends in any case." group:"Desk"`

	ClickHouseURL secret.Ref `name:"clickhouse-url" env:"CLICKHOUSE_URL" placeholder:"URL" help:"ClickHouse with the database, to show the row of a letter's key; optional." group:"Desk"`
}

// Validate names every setting that is wrong. It does no I/O.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	host, _, err := net.SplitHostPort(c.Addr)
	wrong(err != nil, "DESK_ADDR (--addr): %q is not an address such as 127.0.0.1:8105", c.Addr)
	wrong(err == nil && !isLoopback(host) && !c.secure(),
		"DESK_ADDR (--addr): %s is not the loopback address, and sessions must not cross a network unencrypted: set DESK_TLS_CERT and DESK_TLS_KEY, or DESK_BEHIND_TLS=true behind a proxy that serves HTTPS", c.Addr)
	wrong((c.TLSCert == "") != (c.TLSKey == ""), "DESK_TLS_CERT and DESK_TLS_KEY (--tls-cert, --tls-key) are needed together")
	wrong(c.TLSCert != "" && c.BehindTLS, "DESK_TLS_CERT and DESK_BEHIND_TLS contradict each other: unset one of them")
	wrong(c.SessionIdle <= 0, "DESK_SESSION_IDLE (--session-idle): %s is not positive", c.SessionIdle)
	wrong(c.SessionMax < c.SessionIdle, "DESK_SESSION_MAX (--session-max): %s is less than DESK_SESSION_IDLE", c.SessionMax)
	wrong(c.OperatorToken == "" && c.ViewerToken == "" && c.OIDCIssuer == "",
		"nobody could sign in: set DESK_OPERATOR_TOKEN (or DESK_OPERATOR_TOKEN_FILE), DESK_VIEWER_TOKEN, or DESK_OIDC_ISSUER")
	if c.OIDCIssuer == "" {
		return errors.Join(errs...)
	}
	issuer, err := url.Parse(c.OIDCIssuer)
	wrong(err != nil || !encrypted(issuer), "DESK_OIDC_ISSUER (--oidc-issuer) is not an https:// URL")
	wrong(c.OIDCClientID == "", "DESK_OIDC_CLIENT_ID (--oidc-client-id) is required with DESK_OIDC_ISSUER")
	back, err := url.Parse(c.OIDCRedirectURL)
	wrong(err != nil || !encrypted(back) || back.Path != callbackPath, "DESK_OIDC_REDIRECT_URL (--oidc-redirect-url) must be the page's https:// URL with the path %s", callbackPath)
	wrong(c.OIDCRoleClaim == "", "DESK_OIDC_ROLE_CLAIM (--oidc-role-claim) is empty")
	wrong(len(c.OIDCOperators)+len(c.OIDCViewers) == 0, "nobody could sign in with DESK_OIDC_ISSUER: set DESK_OIDC_OPERATORS or DESK_OIDC_VIEWERS to values of the claim %s", c.OIDCRoleClaim)
	return errors.Join(errs...)
}

// encrypted accepts unencrypted URLs of this machine.
func encrypted(u *url.URL) bool {
	return u.Scheme == "https" && u.Host != "" || u.Scheme == "http" && isLoopback(u.Hostname())
}

// secure says whether browsers come by HTTPS.
func (c *Config) secure() bool { return c.TLSCert != "" || c.BehindTLS }

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// Secrets are what a Config's references stand for, kept up to date. A nil one was not given.
type Secrets struct {
	OperatorToken, ViewerToken, OIDCClientSecret *secret.Value
}

// Open reads the secrets. The caller closes them.
func (c *Config) Open(ctx context.Context) (*Secrets, error) {
	s := &Secrets{}
	var errs []error
	open := func(into **secret.Value, name string, ref secret.Ref, fewest int) {
		if ref == "" {
			return
		}
		value, err := secret.Open(ctx, name, ref)
		if err != nil {
			errs = append(errs, err)
			return
		}
		if *into = value; len(value.Get()) < fewest {
			errs = append(errs, fmt.Errorf("%s has less than %d characters: make one with `openssl rand -base64 32`", name, fewest))
		}
	}
	open(&s.OperatorToken, "DESK_OPERATOR_TOKEN", c.OperatorToken, minToken)
	open(&s.ViewerToken, "DESK_VIEWER_TOKEN", c.ViewerToken, minToken)
	open(&s.OIDCClientSecret, "DESK_OIDC_CLIENT_SECRET", c.OIDCClientSecret, 1)
	if s.OperatorToken != nil && s.ViewerToken != nil && s.OperatorToken.Get() == s.ViewerToken.Get() {
		errs = append(errs, errors.New("DESK_OPERATOR_TOKEN and DESK_VIEWER_TOKEN are the same: every viewer would be an operator"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends the watching of the secrets.
func (s *Secrets) Close() error {
	var errs []error
	for _, value := range []*secret.Value{s.OperatorToken, s.ViewerToken, s.OIDCClientSecret} {
		if value != nil {
			errs = append(errs, value.Close())
		}
	}
	return errors.Join(errs...)
}
