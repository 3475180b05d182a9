package people

import "context"

// refreshTokenName is where the token is in the state.
const refreshTokenName = "salesloft-refresh-token" //nolint:gosec // a name, not a credential

// Tokens is the salesloft.TokenStore on the producer's state.
type Tokens struct{ State State }

type storedToken struct {
	RefreshToken string `json:"refresh_token"`
}

// Load implements salesloft.TokenStore.
func (t Tokens) Load(context.Context) (string, error) {
	var stored storedToken
	_, err := t.State.Load(refreshTokenName, &stored)
	return stored.RefreshToken, err
}

// Save implements salesloft.TokenStore: the token is acknowledged by the brokers when it returns.
func (t Tokens) Save(ctx context.Context, refreshToken string) error {
	return t.State.Save(ctx, refreshTokenName, storedToken{RefreshToken: refreshToken})
}
