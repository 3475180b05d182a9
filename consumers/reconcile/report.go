package reconcile

import (
	"time"

	"github.com/google/uuid"
)

// Report is what one reconciliation found.
type Report struct {
	ID        uuid.UUID `json:"reconciliation_id"`
	CheckedAt time.Time `json:"checked_at"`
	Complete  bool      `json:"complete"` // of all runs of its span and all keys
	Results   []Result  `json:"results"`
	Missing   []Missing `json:"missing"` // as many as were to be listed
}

// Gap is how many rows should be there and are not, each counted once a table.
func (r Report) Gap() int64 {
	var gap int64
	for _, res := range r.Results {
		if !res.CountedElsewhere {
			gap += res.Gap
		}
	}
	return gap
}

// Subjects of results.
const (
	SubjectRun  = "run"
	SubjectKeys = "keys"
)

// Result is what became of the events of one run, or of the keys of one entity. The fields are the columns of reconciliations,
// whose comments say what they mean.
type Result struct {
	Source           string     `json:"source"`
	Entity           string     `json:"entity"`
	Subject          string     `json:"subject"`
	RunID            string     `json:"run_id,omitempty"`
	CorrelationID    string     `json:"correlation_id,omitempty"`
	Scope            string     `json:"scope,omitempty"`
	TimePeriodID     *string    `json:"time_period_id,omitempty"`
	Outcome          string     `json:"outcome,omitempty"`
	CompletedAt      *time.Time `json:"completed_at,omitempty"`
	CountedElsewhere bool       `json:"counted_elsewhere"`

	RowsExpected    int64 `json:"rows_expected"`
	RowsPublished   int64 `json:"rows_published"`
	RowsUnchanged   int64 `json:"rows_unchanged"`
	RowsRejected    int64 `json:"rows_rejected"`
	RowsUnaccounted int64 `json:"rows_unaccounted"`

	OnTopic      int64 `json:"on_topic"`
	Compacted    int64 `json:"compacted"`
	Stored       int64 `json:"stored"`
	Pending      int64 `json:"pending"`
	DeadLettered int64 `json:"dead_lettered"`
	Erased       int64 `json:"erased"`
	Expired      int64 `json:"expired"`
	Missing      int64 `json:"missing"`
	Stale        int64 `json:"stale"`
	Discarded    int64 `json:"discarded"`
	Lost         int64 `json:"lost"`
	Untold       int64 `json:"untold"`
	Unidentified int64 `json:"unidentified"`
	Gap          int64 `json:"gap"`
}

// What is missing, and where.
const (
	NotInHistory = "not_in_history"
	NotCurrent   = "not_current"
	Stale        = "stale"
	Discarded    = "discarded"
)

// Missing is an event that should be in the warehouse and is not.
type Missing struct {
	Source    string    `json:"source"`
	Entity    string    `json:"entity"`
	RunID     string    `json:"run_id,omitempty"` // empty where it is a key's newest
	What      string    `json:"what"`
	Key       string    `json:"key"`
	EventID   uuid.UUID `json:"event_id"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
}

// Sum is one line for all runs of an entity, or for its keys.
type Sum struct {
	Result
	Count   int      // of runs
	Notable []Result // runs of which not everything is stored
}

// Sums are the lines of a report, in its order. Rows that are counted elsewhere are in none.
func Sums(report Report) []Sum {
	var sums []Sum
	for _, r := range report.Results {
		if len(sums) == 0 || sums[len(sums)-1].Entity != r.Entity || sums[len(sums)-1].Subject != r.Subject {
			sums = append(sums, Sum{Result: Result{Source: r.Source, Entity: r.Entity, Subject: r.Subject}})
		}
		sum := &sums[len(sums)-1]
		if r.Subject == SubjectRun {
			sum.Count++
		}
		if r.Subject == SubjectRun && (r.Gap > 0 || r.Pending > 0 || r.DeadLettered > 0 || r.Untold > 0) {
			sum.Notable = append(sum.Notable, r)
		}
		if !r.CountedElsewhere {
			sum.add(r)
		}
	}
	return sums
}

func (s *Sum) add(r Result) {
	s.RowsExpected += r.RowsExpected
	s.RowsPublished += r.RowsPublished
	s.RowsUnchanged += r.RowsUnchanged
	s.RowsRejected += r.RowsRejected
	s.RowsUnaccounted += r.RowsUnaccounted
	s.OnTopic += r.OnTopic
	s.Compacted += r.Compacted
	s.Stored += r.Stored
	s.Pending += r.Pending
	s.DeadLettered += r.DeadLettered
	s.Erased += r.Erased
	s.Expired += r.Expired
	s.Missing += r.Missing
	s.Lost += r.Lost
	s.Untold += r.Untold
	s.Gap += r.Gap
}
