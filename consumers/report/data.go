package report

import "time"

// Report is all that the page shows, as --json prints it. It holds no personal data. Times are UTC, durations seconds.
type Report struct {
	MadeAt         time.Time    `json:"made_at"`
	From           time.Time    `json:"from"` // midnight
	Days           int          `json:"days"`
	Problems       []Problem    `json:"problems"` // the worst first; none is healthy
	Unread         []string     `json:"unread"`   // sections that could not be read
	Freshness      []Freshness  `json:"freshness"`
	Runs           []Runs       `json:"runs"`
	Lag            []Lag        `json:"lag"`
	Letters        Letters      `json:"dead_letters"`
	Reconciliation []Reconciled `json:"reconciliation"`
	Contracts      []Contract   `json:"contracts"`
	Quality        Quality      `json:"data_quality"`
	Anomalies      Anomalies    `json:"anomalies"`
	Versions       Versions     `json:"versions"`
}

// How bad a problem is.
const (
	Critical = "critical" // what BI reads may be wrong, or does not move
	Warning  = "warning"  // somebody has to do something
)

// Problem is something wrong, and the way out.
type Problem struct {
	Severity string `json:"severity"`
	Title    string `json:"title"`
	Detail   string `json:"detail"`
	Do       string `json:"do"` // with commands between backquotes
}

// Freshness is how old what BI reads of an entity is.
type Freshness struct {
	Source      string     `json:"source" ch:"source"`
	Entity      string     `json:"entity" ch:"entity"`
	LastSuccess *time.Time `json:"last_success" ch:"last_success"`
	Newest      *time.Time `json:"newest_ingested_at" ch:"newest_ingested_at"`
	Age         *float64   `json:"age_seconds" ch:"age_seconds"`             // since the last run that succeeded
	Delay       *float64   `json:"delay_p95_seconds" ch:"delay_p95_seconds"` // from reading to inserting, over the last day
	// As the contract on the entity's view has it; 0 where there is none.
	PromisedDelay float64 `json:"promised_delay_seconds"`
	PromisedAge   float64 `json:"promised_age_seconds"`
}

// Late tells whether rows take longer than was promised.
func (f Freshness) Late() bool {
	return f.PromisedDelay > 0 && f.Delay != nil && *f.Delay > f.PromisedDelay
}

// Old tells whether it was last read whole longer ago than was promised.
func (f Freshness) Old() bool { return f.PromisedAge > 0 && f.Age != nil && *f.Age > f.PromisedAge }

// Runs are those of a day.
type Runs struct {
	Day       string   `json:"day" ch:"day"` // 2026-01-02
	Source    string   `json:"source" ch:"source"`
	Entity    string   `json:"entity" ch:"entity"`
	Runs      int64    `json:"runs" ch:"runs"`
	Succeeded int64    `json:"succeeded" ch:"succeeded"`
	Partial   int64    `json:"partial" ch:"partial"`
	Failed    int64    `json:"failed" ch:"failed"`
	Cancelled int64    `json:"cancelled" ch:"cancelled"`
	Rate      *float64 `json:"completion_rate" ch:"completion_rate"`
	P50       *float64 `json:"seconds_p50" ch:"seconds_p50"`
	P95       *float64 `json:"seconds_p95" ch:"seconds_p95"`
	Published int64    `json:"rows_published" ch:"published"`
	Rejected  int64    `json:"rows_rejected" ch:"rejected"`
}

// Lag is how far a group is behind on a topic.
type Lag struct {
	Group     string     `json:"consumer_group" ch:"consumer_group"`
	Topic     string     `json:"topic" ch:"topic"`
	Now       int64      `json:"lag" ch:"lag"`
	Most      int64      `json:"most" ch:"most"`
	SampledAt time.Time  `json:"sampled_at" ch:"sampled_at"`
	CaughtUp  *time.Time `json:"caught_up_at" ch:"caught_up_at"` // when it last had nothing before it; null if never in these days
	Points    []Point    `json:"points"`
}

// Point is the most of a while.
type Point struct {
	At   time.Time `json:"at"` // its beginning
	Most int64     `json:"most"`
}

// Letters are the dead ones.
type Letters struct {
	Open   []OpenLetters `json:"open"`
	Newest []Letter      `json:"newest"` // open ones
	Over   []ReasonOver  `json:"over_time"`
	Step   float64       `json:"step_seconds"` // of Over
	Known  bool          `json:"known"`        // there is any, of whatever state
}

// OpenLetters are those of one reason.
type OpenLetters struct {
	Topic    string    `json:"topic" ch:"original_topic"`
	Reason   string    `json:"reason" ch:"reason"`
	Stage    string    `json:"stage" ch:"stage"`
	Letters  int64     `json:"letters" ch:"letters"`
	Returned int64     `json:"returned" ch:"returned"`
	Oldest   time.Time `json:"oldest_failure" ch:"oldest_failure"`
	Newest   time.Time `json:"newest_failure" ch:"newest_failure"`
}

// Letter is one of them.
type Letter struct {
	ID      string    `json:"id" ch:"id"` // as dlq-replayer takes it
	Reason  string    `json:"reason" ch:"reason"`
	Stage   string    `json:"stage" ch:"stage"`
	Failed  time.Time `json:"last_failure" ch:"last_failure"`
	Replays int32     `json:"replays" ch:"replays"`
}

// ReasonOver is how many letters of a reason were open at the end of each step since From.
type ReasonOver struct {
	Reason string  `json:"reason"`
	Open   []int64 `json:"open"`
}

// Reconciled is what the newest reconciliations of the runs of these days found, or that of the keys.
type Reconciled struct {
	Source       string    `json:"source" ch:"source"`
	Entity       string    `json:"entity" ch:"entity"`
	Subject      string    `json:"subject" ch:"subject"` // run or keys
	CheckedAt    time.Time `json:"checked_at" ch:"last_checked_at"`
	Results      int64     `json:"results" ch:"results"`
	Expected     int64     `json:"rows_expected" ch:"sum_expected"`
	OnTopic      int64     `json:"on_topic" ch:"sum_on_topic"`
	Stored       int64     `json:"stored" ch:"sum_stored"`
	Pending      int64     `json:"pending" ch:"sum_pending"`
	DeadLettered int64     `json:"dead_lettered" ch:"sum_dead_lettered"`
	Missing      int64     `json:"missing" ch:"sum_missing"`
	Gap          int64     `json:"gap" ch:"sum_gap"`
}

// Contract is how a contract stands.
type Contract struct {
	Name      string    `json:"contract"`
	Relation  string    `json:"relation"`
	CheckedAt time.Time `json:"checked_at"`
	Rules     int       `json:"rules"`
	Broken    []Rule    `json:"broken"`
	Delay     *float64  `json:"freshness_p95_seconds"`
}

// Rule is one that does not hold.
type Rule struct {
	Rule       string `json:"rule"`
	Found      string `json:"found"`
	Expected   string `json:"expected"`
	Violations uint64 `json:"violations"`
}

// Quality is what the newest analysis found.
type Quality struct {
	CheckedAt *time.Time `json:"checked_at"` // null if there was none
	Findings  []Finding  `json:"findings"`
}

// Finding is one of them.
type Finding struct {
	Check    string `json:"check" ch:"check"`
	Column   string `json:"column" ch:"column"`
	Severity string `json:"severity" ch:"severity"` // info, too
	Rows     int64  `json:"rows" ch:"rows"`
	Of       int64  `json:"of_rows" ch:"of_rows"`
	Text     string `json:"text" ch:"text"`
}

// Anomalies are the reviews.
type Anomalies struct {
	LastRun *time.Time      `json:"last_run"`
	Open    []OpenAnomalies `json:"open"`
	Newest  []Anomaly       `json:"newest"` // open ones
}

// OpenAnomalies are those of a scope.
type OpenAnomalies struct {
	Scope   string    `json:"scope" ch:"scope"`
	Reviews int64     `json:"reviews" ch:"reviews"`
	Oldest  time.Time `json:"oldest" ch:"oldest"`
}

// Anomaly is one of them, without whose it is.
type Anomaly struct {
	ID       string    `json:"anomaly_id" ch:"id"`
	Scope    string    `json:"scope" ch:"scope"`
	Period   string    `json:"time_period_id" ch:"time_period_id"`
	Field    string    `json:"field_id" ch:"field_id"`
	Kind     string    `json:"kind" ch:"kind"`
	Percent  *float64  `json:"percent" ch:"percent"`
	OpenedAt time.Time `json:"opened_at" ch:"opened_at"`
}

// Versions are those of the programs.
type Versions struct {
	Program    string `json:"revstream"`
	ClickHouse string `json:"clickhouse"`
}
