package payload

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/revstream/revstream/schemas/wire"
)

// forget is how long an ID that the registry does not know counts as unknown. A million letters with such an ID must not be a
// million requests, and a schema that is registered after all must be found.
const forget = 10 * time.Second

// remembering is a schema source that asks another one for each ID once.
type remembering struct {
	source  wire.SchemaSource
	texts   sync.Map // ID (int) → string
	unknown sync.Map // ID (int) → unknown
}

type unknown struct {
	err   *wire.InvalidError
	until time.Time
}

// SchemaText implements wire.SchemaSource.
func (r *remembering) SchemaText(ctx context.Context, id int) (string, error) {
	if text, ok := r.texts.Load(id); ok {
		return text.(string), nil
	}
	if u, ok := r.unknown.Load(id); ok && time.Now().Before(u.(unknown).until) {
		return "", u.(unknown).err
	}
	text, err := r.source.SchemaText(ctx, id)
	if invalid, ok := errors.AsType[*wire.InvalidError](err); ok {
		r.unknown.Store(id, unknown{invalid, time.Now().Add(forget)})
	}
	if err != nil {
		return "", err
	}
	r.texts.Store(id, text)
	return text, nil
}
