// Package consumers owns which topic goes into which tables.
package consumers

import (
	"github.com/revstream/revstream/consumers/audit"
	"github.com/revstream/revstream/consumers/exportrun"
	"github.com/revstream/revstream/consumers/forecast"
	"github.com/revstream/revstream/consumers/people"
	"github.com/revstream/revstream/consumers/service"
	"github.com/revstream/revstream/schemas"
	exportrunschema "github.com/revstream/revstream/schemas/exportrun"
	forecastschema "github.com/revstream/revstream/schemas/forecast"
	peopleschema "github.com/revstream/revstream/schemas/people"
)

// The streams. Export runs, and what was decided about dead letters, are read by both consumer binaries, as members of
// one group each: they are few, and arrive while either of the two is alive.
var (
	Forecast   = service.Of(schemas.ForecastTopic, "revstream-forecast", forecastschema.Schema, forecast.Tables, forecast.Columns)
	People     = service.Of(schemas.PeopleTopic, "revstream-people", peopleschema.Schema, people.Tables, people.Columns)
	ExportRuns = service.Of(schemas.ExportRunsTopic, "revstream-export-runs", exportrunschema.Schema, exportrun.Tables, exportrun.Columns)
	Audit      = audit.Of("revstream-dlq-audit")
)
