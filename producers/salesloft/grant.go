package salesloft

import (
	"context"
	"log/slog"
	"time"
)

// Grant is what the token endpoint has issued. Printing it redacts; its JSON is the whole, for a store that encrypts.
type Grant struct {
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token"`       // "" of the grant client_credentials
	IssuedAt     time.Time `json:"issued_at,omitzero"`  // zero of a grant that was stored without
	ExpiresAt    time.Time `json:"expires_at,omitzero"` // of the access token; zero: the endpoint did not say
	Scope        string    `json:"scope,omitempty"`     // as the endpoint named it, such as "people:read people:write"; "" if it did not
}

// String names what is not secret.
func (g Grant) String() string { return "grant until " + g.ExpiresAt.Format(time.RFC3339) }

// GoString keeps %#v from printing the tokens.
func (g Grant) GoString() string { return g.String() }

// LogValue keeps slog from printing the tokens.
func (g Grant) LogValue() slog.Value { return slog.StringValue(g.String()) }

// usable says that there is an access token which has not expired.
func (g Grant) usable(now time.Time) bool {
	return g.AccessToken != "" && (g.ExpiresAt.IsZero() || now.Before(g.ExpiresAt))
}

// due says that it is time to renew the access token.
func (g Grant) due(now time.Time) bool {
	return !g.ExpiresAt.IsZero() && !now.Before(g.ExpiresAt.Add(-renewAhead))
}

func (g Grant) same(other Grant) bool {
	return g.AccessToken == other.AccessToken && g.RefreshToken == other.RefreshToken
}

// TokenStore keeps the grant for all processes that use the same credentials: the API revokes each refresh token when it is
// used, so that the configured one is good once.
type TokenStore interface {
	// Load returns the grant that any of the processes saved last, the zero Grant if none did.
	Load(ctx context.Context) (Grant, error)
	// Save must be durable when it returns nil. After an error the old grant or the new one may be there.
	Save(ctx context.Context, grant Grant) error
	// Lock waits until no other process holds the lock, and returns what gives it back. That two hold it for a moment, because
	// one was taken for dead, has to be rare: the second use of a refresh token is refused, which heals by itself, unless the
	// source takes it for a theft and revokes the successor too.
	Lock(ctx context.Context) (unlock func(), err error)
}
