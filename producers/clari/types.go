package clari

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// ForecastTypes lists the IDs of the forecasts that the key may see (GET /forecast/types). Version 1 of the API is said to
// have this list, and nothing says what it looks like: IDs or objects with one are accepted, bare or in an envelope.
func (c *Client) ForecastTypes(ctx context.Context) ([]string, error) {
	var raw json.RawMessage
	if err := c.read(ctx, "/forecast/types", &raw); err != nil {
		return nil, fmt.Errorf("listing forecast types: %w", err)
	}
	var envelope struct{ ForecastTypes, Types, Forecasts, Data json.RawMessage }
	if json.Unmarshal(raw, &envelope) == nil {
		for _, inner := range []json.RawMessage{envelope.ForecastTypes, envelope.Types, envelope.Forecasts, envelope.Data} {
			if inner != nil {
				raw = inner
			}
		}
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errors.New("listing forecast types: the answer has no list")
	}
	ids := make([]string, 0, len(list))
	for _, element := range list {
		var id text
		if bytes.HasPrefix(element, []byte("{")) {
			var object struct{ ForecastID, ID, ForecastType, Type, Name text }
			_ = json.Unmarshal(element, &object) // what it lacks shows below
			id = cmp.Or(object.ForecastID, object.ID, object.ForecastType, object.Type, object.Name)
		} else {
			_ = json.Unmarshal(element, &id) // likewise
		}
		if id == "" {
			return nil, errors.New("listing forecast types: one has no ID")
		}
		ids = append(ids, string(id))
	}
	return ids, nil
}
