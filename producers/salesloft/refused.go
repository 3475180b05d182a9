package salesloft

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// masked stands for a value that may be personal data or a secret.
const masked = "[masked]"

// plain are the parameters and fields whose values say nothing about a person. Everything else is masked, so that a field
// that is new is.
var plain = map[string]bool{
	"page": true, "per_page": true, "sort_by": true, "sort_direction": true, "include_paging_counts": true,
	"updated_at": true, "created_at": true, "event_type": true,
}

// logRefused tells of a request that can never succeed: of all that was sent what is not personal, and the rest by name.
func (c *Client) logRefused(ctx context.Context, e exchange, refused *ValidationError) {
	c.logger.WarnContext(ctx, "salesloft refused a request as invalid", "method", e.method, "path", refused.Path,
		"fields", slices.Sorted(maps.Keys(refused.Fields)), "query", maskQuery(e.query), "payload", maskPayload(e.payload))
}

func maskQuery(query url.Values) map[string][]string {
	shown := make(map[string][]string, len(query))
	for name, values := range query {
		field, _, _ := strings.Cut(name, "[")
		if !plain[field] {
			values = []string{masked}
		}
		shown[name] = values
	}
	return shown
}

// maskPayload returns nil for no payload.
func maskPayload(payload []byte) any {
	var value any
	if len(payload) == 0 || json.Unmarshal(payload, &value) != nil {
		return nil
	}
	return maskValue("", value)
}

func maskValue(name string, value any) any {
	switch value := value.(type) {
	case map[string]any:
		for field, inner := range value {
			value[field] = maskValue(field, inner)
		}
		return value
	case []any:
		for i, inner := range value {
			value[i] = maskValue(name, inner)
		}
		return value
	case nil:
		return nil
	}
	if plain[name] {
		return value
	}
	return masked
}
