package people

import (
	"context"

	"github.com/revstream/revstream/producers/salesloft"
)

// grantName is where the grant is in the state.
const grantName = "salesloft-refresh-token" //nolint:gosec // a name, not a credential

// Tokens is the salesloft.TokenStore on the producer's state.
type Tokens struct{ State State }

// Load implements salesloft.TokenStore.
func (t Tokens) Load(context.Context) (salesloft.Grant, error) {
	var grant salesloft.Grant
	_, err := t.State.Load(grantName, &grant)
	return grant, err
}

// Save implements salesloft.TokenStore: the grant is acknowledged by the brokers when it returns.
func (t Tokens) Save(ctx context.Context, grant salesloft.Grant) error {
	return t.State.Save(ctx, grantName, grant)
}

// Lock implements salesloft.TokenStore.
func (t Tokens) Lock(context.Context) (func(), error) { return func() {}, nil }
