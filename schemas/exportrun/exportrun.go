// Package exportrun owns the export-run event: the account of one export job or one sync window.
package exportrun

import (
	"errors"
	"time"

	"github.com/twmb/avro"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
)

// Entity is the name of the entity in event IDs and types.
const Entity = "export_run"

// Outcome says how a run ended.
type Outcome string

// The outcomes of the Avro enum.
const (
	Succeeded Outcome = "SUCCEEDED"
	Partial   Outcome = "PARTIAL"
	Failed    Outcome = "FAILED"
	Cancelled Outcome = "CANCELLED"
)

// Outcomes returns all of them.
func Outcomes() []Outcome { return []Outcome{Succeeded, Partial, Failed, Cancelled} }

// SchemaFile is the file of the schema under schemas/avro.
const SchemaFile = "export_run.v1.avsc"

// Schema is the newest schema of the event.
var Schema = avro.MustParse(schemas.MustAvro(SchemaFile))

// ExportRun is the account of one export job or one sync window. The fields'
// meaning and units are in the schema.
type ExportRun struct {
	event.Envelope
	RunID         string     `avro:"run_id"`
	Source        string     `avro:"source"`
	OfEntity      string     `avro:"entity"`
	Scope         string     `avro:"scope"`
	TimePeriodID  *string    `avro:"time_period_id"`
	Kinds         []string   `avro:"kinds"`
	JobID         *string    `avro:"job_id"`
	WindowStart   *time.Time `avro:"window_start"`
	WindowEnd     *time.Time `avro:"window_end"`
	RequestedAt   time.Time  `avro:"requested_at"`
	StartedAt     *time.Time `avro:"started_at"`
	EndedAt       *time.Time `avro:"ended_at"`
	CompletedAt   time.Time  `avro:"completed_at"`
	RowsExpected  int64      `avro:"rows_expected"`
	RowsPublished int64      `avro:"rows_published"`
	RowsUnchanged int64      `avro:"rows_unchanged"`
	RowsRejected  int64      `avro:"rows_rejected"`
	Truncated     bool       `avro:"truncated"`
	Outcome       Outcome    `avro:"outcome"`
	Error         *string    `avro:"error"`

	Jobs               int64   `avro:"jobs"`
	RowsTruncated      bool    `avro:"rows_truncated"`
	CellsTruncated     bool    `avro:"cells_truncated"`
	Empty              bool    `avro:"empty"`
	TimePeriodReceived *string `avro:"time_period_received"`
	PeriodGap          bool    `avro:"period_gap"`
	UnknownUsers       int64   `avro:"unknown_users"`
	UnknownFields      int64   `avro:"unknown_fields"`
	RowsPrevious       *int64  `avro:"rows_previous"`
	UnusualCount       bool    `avro:"unusual_count"`
}

// Head implements event.Event.
func (r *ExportRun) Head() *event.Envelope { return &r.Envelope }

// Entity implements event.Event.
func (*ExportRun) Entity() string { return Entity }

// Key implements event.Event: the run's ID.
func (r *ExportRun) Key() string { return r.RunID }

// AppendKey implements event.Event.
func (r *ExportRun) AppendKey(dst []byte) []byte { return append(dst, r.RunID...) }

// Validate implements event.Event.
func (r *ExportRun) Validate() error {
	var errs []error
	if r.RunID == "" {
		errs = append(errs, errors.New("run_id is empty"))
	}
	if r.Source == "" {
		errs = append(errs, errors.New("source is empty"))
	}
	if r.OfEntity == "" {
		errs = append(errs, errors.New("entity is empty"))
	}
	if min(r.RowsExpected, r.RowsPublished, r.RowsUnchanged, r.RowsRejected, r.Jobs, r.UnknownUsers, r.UnknownFields) < 0 {
		errs = append(errs, errors.New("a count is negative"))
	}
	if err := event.CheckTimes(event.Moment{Name: "window_start", Time: r.WindowStart}, event.Moment{Name: "window_end", Time: r.WindowEnd},
		event.Moment{Name: "requested_at", Time: &r.RequestedAt}, event.Moment{Name: "started_at", Time: r.StartedAt},
		event.Moment{Name: "ended_at", Time: r.EndedAt}, event.Moment{Name: "completed_at", Time: &r.CompletedAt}); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
