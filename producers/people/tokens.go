package people

import (
	"context"

	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/state"
)

// grantName is where the grant is in the state. Earlier versions had the refresh token there, in clear: it is read, and sealed
// with the first grant that is saved.
const grantName = "salesloft-refresh-token"

// tokensLock is the name of the lock that whoever renews the grant holds.
const tokensLock = "tokens"

// Tokens is the salesloft.TokenStore on the producer's state, encrypted there. Every process that uses the grant opens the
// same state. Its fields are set before the first use.
type Tokens struct {
	State  *state.Store
	Sealed *state.Sealed // of State
}

// Load implements salesloft.TokenStore.
func (t *Tokens) Load(ctx context.Context) (salesloft.Grant, error) {
	if err := t.State.Sync(ctx); err != nil {
		return salesloft.Grant{}, err
	}
	var grant salesloft.Grant
	_, err := t.Sealed.Load(ctx, grantName, &grant)
	return grant, err
}

// Save implements salesloft.TokenStore: the grant is acknowledged by the brokers when it returns.
func (t *Tokens) Save(ctx context.Context, grant salesloft.Grant) error {
	return t.Sealed.Save(ctx, grantName, grant)
}

// Lock implements salesloft.TokenStore.
func (t *Tokens) Lock(ctx context.Context) (func(), error) {
	lock, err := t.State.Lock(ctx, tokensLock)
	if err != nil {
		return nil, err
	}
	return lock.Unlock, nil
}
