package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/revstream/revstream/deploy/local/faults/plan"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/people"
)

// table is where a topic's events are.
type table struct {
	name    string // prefix of the tables and of the view that masks nothing
	key     string // SQL that makes the record's key
	columns []string
}

// tables by topic.
var tables = map[string]table{
	schemas.ForecastTopic: {
		name:    "forecast",
		key:     "concat(forecast_id, '|', time_period_id, '|', time_frame_id, '|', user_id, '|', field_id, '|', kind)",
		columns: slices.Sorted(maps.Keys(content(&forecast.Forecast{}))),
	},
	schemas.PeopleTopic: {
		name:    "people",
		key:     "concat('salesloft:', toString(person_id))",
		columns: slices.Sorted(maps.Keys(content(&people.Person{}))),
	},
}

// Warehouse holds the tables and views of a database against the model: with all repairs done, or with none.
func Warehouse(ctx context.Context, clickhouseURL string, model *plan.Model, repaired bool) (Rows, error) {
	db, err := open(clickhouseURL)
	if err != nil {
		return Rows{}, err
	}
	var found Rows
	for _, name := range plan.Topics() {
		c := &check{db: db, table: tables[name], topic: model.Topics[name], repaired: repaired, found: &found}
		for _, step := range []func(context.Context) error{c.history, c.current} {
			if err := step(ctx); err != nil {
				return found, fmt.Errorf("verifying %s: %w", c.table.name, err)
			}
		}
	}
	return found, nil
}

// check is that of one topic.
type check struct {
	db       *database
	table    table
	topic    *plan.Topic
	repaired bool
	found    *Rows
}

// history expects each valid event once, under its key.
func (c *check) history(ctx context.Context) error {
	name := c.table.name + "_history"
	final, err := c.db.final(ctx, name)
	if err != nil {
		return err
	}
	seen := make([]uint8, len(c.topic.Facts))
	sql := fmt.Sprintf("SELECT event_id, %s AS key, is_deleted FROM %s %s", c.table.key, name, final)
	err = c.db.query(ctx, sql, func(dec *json.Decoder) error {
		var row struct {
			EventID   uuid.UUID `json:"event_id"`
			Key       string
			IsDeleted uint8 `json:"is_deleted"`
		}
		if err := dec.Decode(&row); err != nil {
			return err
		}
		c.found.History++
		i, known := c.topic.Find(row.EventID)
		switch {
		case !known || c.topic.Facts[i].Kind != plan.Sound && !c.repaired:
			c.found.Foreign.add("%s: event %s of key %q", name, row.EventID, row.Key)
		case row.Key != c.topic.Key(i) || (row.IsDeleted == 1) != c.topic.Deletes(i):
			c.found.Foreign.add("%s: event %s stands there as one of key %q, deleted %d", name, row.EventID, row.Key, row.IsDeleted)
		case seen[i] == 1:
			c.found.Doubled.add("%s: event %s of key %q", name, row.EventID, row.Key)
			seen[i]++
		case seen[i] == 0:
			seen[i]++
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, f := range c.topic.Facts {
		if seen[i] == 0 && (f.Kind == plan.Sound || c.repaired) {
			c.found.Lost.add("%s: event %s of key %q, published by step %d", name, f.ID, c.topic.Key(i), f.Step)
		}
	}
	return nil
}

// current expects each key once with its newest version, whole, in the table and in the view. A key that is wrong in both
// counts once.
func (c *check) current(ctx context.Context) error {
	visible := c.topic.Visible(c.repaired)
	c.found.Visible += len(visible)
	table, view := c.table.name+"_current", c.table.name+"_full"
	final, err := c.db.final(ctx, table)
	if err != nil {
		return err
	}
	wrong := make(map[string]bool)
	columns := strings.Join(c.table.columns, ", ")
	for _, source := range []struct{ name, sql string }{
		{table, fmt.Sprintf("SELECT %s AS key, event_id, source_version, %s FROM %s %s", c.table.key, columns, table, final)},
		{"view " + view, fmt.Sprintf("SELECT %s AS key, source_version, %s FROM %s", c.table.key, columns, view)},
	} {
		seen := make(map[string]bool, len(visible))
		err := c.db.query(ctx, source.sql, func(dec *json.Decoder) error {
			var row map[string]any
			if err := dec.Decode(&row); err != nil {
				return err
			}
			key, _ := row["key"].(string)
			c.key(source.name, key, row, seen, wrong)
			return nil
		})
		if err != nil {
			return err
		}
		for _, i := range visible {
			if key := c.topic.Key(i); !seen[key] && !wrong[key] {
				wrong[key] = true
				c.found.Stale.add("%s: key %q is not there, where event %s should be", source.name, key, c.topic.Facts[i].ID)
			}
		}
	}
	return nil
}

// key looks at one row of current or of its view.
func (c *check) key(source, key string, row map[string]any, seen, wrong map[string]bool) {
	first := !wrong[key]
	i, visible := c.topic.Newest(key, c.repaired)
	switch {
	case seen[key]:
		wrong[key] = true
		if first {
			c.found.Doubled.add("%s: key %q", source, key)
		}
	case !visible && !c.topic.Has(key):
		wrong[key] = true
		if first {
			c.found.Foreign.add("%s: key %q", source, key)
		}
	case !visible:
		wrong[key] = true
		if first {
			c.found.Stale.add("%s: key %q is there, though it is deleted or has no valid version", source, key)
		}
	default:
		if differs := c.compare(i, row); len(differs) > 0 {
			wrong[key] = true
			if first {
				c.found.Stale.add("%s: key %q differs from event %s in %s", source, key, c.topic.Facts[i].ID, strings.Join(differs, ", "))
			}
		}
	}
	seen[key] = true
}

// compare names the columns in which a row is not the fact of an index.
func (c *check) compare(i int, row map[string]any) (differs []string) {
	e := c.topic.Event(i)
	if id, ok := row["event_id"]; ok && id != c.topic.Facts[i].ID.String() {
		differs = append(differs, "event_id")
	}
	if row["source_version"] != stamp(e.Head().SourceVersion) {
		differs = append(differs, "source_version")
	}
	for name, want := range content(e) {
		if !same(want, row[name]) {
			differs = append(differs, name)
		}
	}
	slices.Sort(differs)
	return differs
}
