// Package envelope owns the columns that every table of events has.
package envelope

import (
	"time"

	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/table"
	"github.com/revstream/revstream/schemas/event"
)

// Columns come from the envelope of an event.
func Columns[E event.Event]() []table.Column[E] {
	return []table.Column[E]{
		table.Of("event_id", "UUID", func(e E) uuid.UUID { return e.Head().EventID }),
		table.Of("source_version", "DateTime64(6, 'UTC')", func(e E) time.Time { return e.Head().SourceVersion }),
		table.Of("observed_at", "DateTime64(6, 'UTC')", func(e E) time.Time { return e.Head().ObservedAt }),
		table.Of("is_deleted", "UInt8", func(e E) uint8 {
			if e.Head().Operation == event.Delete {
				return 1
			}
			return 0
		}),
		table.Of("correlation_id", "String", func(e E) string { return e.Head().CorrelationID }),
	}
}
