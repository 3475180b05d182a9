package state

import (
	"context"
	"encoding/json"
	"fmt"

	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/awskms"       // awskms://KEY?region=REGION
	_ "gocloud.dev/secrets/gcpkms"       // gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY
	_ "gocloud.dev/secrets/localsecrets" // base64key://KEY, 32 bytes in URL-safe base64
)

// Sealed is a view of a Store whose values are encrypted: for what lets in whoever has it. The topic, its backups and
// whoever reads it see the name and a ciphertext.
type Sealed struct {
	store  *Store
	keeper *secrets.Keeper
}

// Sealed returns the view. The keeper stays the caller's to close.
func (s *Store) Sealed(keeper *secrets.Keeper) *Sealed { return &Sealed{store: s, keeper: keeper} }

// sealed is what stands on the topic.
type sealed struct {
	Sealed []byte `json:"sealed"`
}

// Load decrypts and decodes the value of a name, and reports whether there is one. A value that an earlier version has
// saved in clear is read as it is; the next Save seals it.
func (s *Sealed) Load(ctx context.Context, name string, into any) (bool, error) {
	var box sealed
	found, err := s.store.Load(name, &box)
	if err != nil || !found {
		return false, err
	}
	if box.Sealed == nil {
		return s.store.Load(name, into)
	}
	raw, err := s.keeper.Decrypt(ctx, box.Sealed)
	if err != nil {
		return false, fmt.Errorf("decrypting state %s%s: is it another key than it was sealed with? %w", s.store.prefix, name, err)
	}
	if json.Unmarshal(raw, into) != nil { // whose error may quote the value
		return false, fmt.Errorf("loading state %s%s: its JSON is not of the expected type", s.store.prefix, name)
	}
	return true, nil
}

// Save encrypts and saves a value as Store.Save does.
func (s *Sealed) Save(ctx context.Context, name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("saving state %s%s: %T has no JSON", s.store.prefix, name, v)
	}
	ciphertext, err := s.keeper.Encrypt(ctx, raw)
	if err != nil {
		return fmt.Errorf("encrypting state %s%s: %w", s.store.prefix, name, err)
	}
	return s.store.Save(ctx, name, sealed{Sealed: ciphertext})
}
