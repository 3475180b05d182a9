package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/revstream/revstream/deploy/local/bench/meter"
)

// Names of the figures: the report's keys.
const (
	InsertShareForecast = "insert_share_forecast"
	InsertSharePeople   = "insert_share_people"
	DuplicatesGain      = "duplicates_gain"
	LedgerShare         = "ledger_50m_share"
	AllocsPerEvent      = "allocs_per_event"
	ConsumerRSS         = "consumer_rss_mb"
	FreshnessP50        = "freshness_p50_s"
	FreshnessP99        = "freshness_p99_s"
	ProducerRate        = "producer_events_per_s"
	StartLedger         = "start_50m_ledger_s"
	ExportRate          = "export_500mb_entries_per_s"
	ExportRSS           = "export_500mb_rss_mb"
	WebhookP99          = "webhook_p99_ms"
	WebhookMost         = "webhook_deliveries_per_s"
	ReplayRate          = "replay_letters_per_s"
	ReplayRSS           = "replay_rss_mb"
	ListFirst           = "list_first_row_s"
	ViewsPoint          = "views_point_ms"
	ViewsAggregate      = "views_aggregate_s"
	ViewsQuota          = "views_quota_s"
)

// Figure is something that is measured, and what it is to be.
type Figure struct {
	Name   string
	Target float64
	AtMost bool // the target is an upper bound rather than a lower one
	Digits int  // behind the point, in the table
	What   string
}

// Figures in the order of the report.
var Figures = []Figure{
	{InsertShareForecast, 0.75, false, 3, "forecasts: events/s from topic to ClickHouse, of those of the bare insert"},
	{InsertSharePeople, 0.70, false, 3, "people: the same"},
	{DuplicatesGain, 1.5, false, 2, "records/s with 50 % duplicates, of those without"},
	{LedgerShare, 0.90, false, 3, "events/s with a large ledger, of those with an empty one"},
	{AllocsPerEvent, 1, true, 2, "allocations an event, from its bytes to its row"},
	{ConsumerRSS, 200, true, 0, "MB, the consumer's peak at full speed"},
	{FreshnessP50, 0.3, true, 3, "s from publish to visible at 5,000 events/s, median"},
	{FreshnessP99, 1, true, 3, "s, 99 % of the events"},
	{ProducerRate, 150_000, false, 0, "events/s from a Clari document to acknowledged"},
	{StartLedger, 3, true, 2, "s from a consumer's start to its first row, with a large ledger"},
	{ExportRate, 100_000, false, 0, "entries/s of a Clari document of 500 MB, from the first acknowledged event to the last"},
	{ExportRSS, 128, true, 0, "MB, forecast-producer's peak on that document"},
	{WebhookP99, 50, true, 1, "ms from a webhook's delivery to its acknowledgement at 2,000 deliveries/s, 99 % of them"},
	{WebhookMost, 2000, false, 0, "webhook deliveries/s at most"},
	{ReplayRate, 50_000, false, 0, "dead letters/s replayed, of 1,000,000, the program's start included"},
	{ReplayRSS, 128, true, 0, "MB, dlq-replayer's peak on them"},
	{ListFirst, 1, true, 2, "s from its start to the first row that it lists by a filter, a quarter of them decided"},
	{ViewsPoint, 20, true, 1, "ms for one forecast of the view, with unmerged batches in the table"},
	{ViewsAggregate, 1, true, 3, "s for the sums by period and kind of the whole view"},
	{ViewsQuota, 1, true, 3, "s for all of forecast_vs_quota"},
}

// Report is the outcome of a run, as build/bench.json has it. A figure is the median of its rounds; one that was not measured
// is missing.
type Report struct {
	// Shares of the bare insert in the same round: events/s from a full topic into ClickHouse, with dedupe, of the rows/s that
	// the fastest columnar insert of the same rows into the same tables reaches. From 0 to about 1.
	InsertShareForecast *float64 `json:"insert_share_forecast,omitempty"`
	InsertSharePeople   *float64 `json:"insert_share_people,omitempty"`
	// Records/s read where every other record is a copy of an event that the ledger has, of those without copies.
	DuplicatesGain *float64 `json:"duplicates_gain,omitempty"`
	// Events/s with LedgerRows events in the ledger, of those with an empty ledger.
	Ledger50MShare *float64 `json:"ledger_50m_share,omitempty"`
	// Allocations of what the consumer does with a forecast's record, from its bytes to its row.
	AllocsPerEvent *float64 `json:"allocs_per_event,omitempty"`
	// Peak resident memory of forecast-consumer at full speed, in 1,000,000 bytes.
	ConsumerRSSMB *float64 `json:"consumer_rss_mb,omitempty"`
	// Seconds from an event's publishing to its being visible, at 5,000 events/s.
	FreshnessP50S *float64 `json:"freshness_p50_s,omitempty"`
	FreshnessP99S *float64 `json:"freshness_p99_s,omitempty"`
	// Events/s that forecast-producer gets acknowledged of one Clari document, from the first to the last.
	ProducerEventsPerS *float64 `json:"producer_events_per_s,omitempty"`
	// Seconds from the start of forecast-consumer to its first new row, with LedgerRows events in the ledger.
	Start50MLedgerS *float64 `json:"start_50m_ledger_s,omitempty"`
	// Entries/s that forecast-producer gets acknowledged of a Clari document of 500 MB, and its peak resident memory in
	// 1,000,000 bytes. Measured once a run.
	Export500MBEntriesPerS *float64 `json:"export_500mb_entries_per_s,omitempty"`
	Export500MBRSSMB       *float64 `json:"export_500mb_rss_mb,omitempty"`

	// Milliseconds from when a webhook delivery is due to the answer that says that the brokers have it, at 2,000 deliveries/s,
	// and deliveries/s where a new one is made as soon as one is answered.
	WebhookP99MS          *float64 `json:"webhook_p99_ms,omitempty"`
	WebhookDeliveriesPerS *float64 `json:"webhook_deliveries_per_s,omitempty"`

	// Dead letters/s that dlq-replayer puts back, of 1,000,000 and from its start to its end, and its peak resident memory in
	// 1,000,000 bytes. Seconds from its start to the first of the letters that a filter selects, of which there is one in a
	// hundred, where a quarter of all are decided. Measured once a run.
	ReplayLettersPerS *float64 `json:"replay_letters_per_s,omitempty"`
	ReplayRSSMB       *float64 `json:"replay_rss_mb,omitempty"`
	ListFirstRowS     *float64 `json:"list_first_row_s,omitempty"`

	// Milliseconds for one forecast by its whole key from the view of the present state, and seconds for its sums by period and kind
	// and for all of forecast_vs_quota, over ViewEvents events of a tenth as many keys and four fresh batches, by HTTP.
	ViewsPointMS    *float64 `json:"views_point_ms,omitempty"`
	ViewsAggregateS *float64 `json:"views_aggregate_s,omitempty"`
	ViewsQuotaS     *float64 `json:"views_quota_s,omitempty"`

	Machine Machine `json:"machine"`
	// Quick is a run with fewer events and rounds: its figures vary more.
	Quick      bool `json:"quick"`
	Rounds     int  `json:"rounds"`
	Events     int  `json:"events"`      // forecasts of a measurement
	LedgerRows int  `json:"ledger_rows"` // where a large ledger is measured
	ViewEvents int  `json:"view_events"` // where views are

	// Raw has what each figure was made of, round by round: by the figure's name, then by the quantity's, which ends in its
	// unit. The figure itself is the quantity "value".
	Raw map[string]map[string]*meter.Series `json:"raw"`
}

func newReport(cfg Config, machine Machine) *Report {
	return &Report{
		Machine: machine, Quick: cfg.Quick, Rounds: cfg.Rounds, Events: cfg.Events, LedgerRows: cfg.Ledger, ViewEvents: cfg.Views,
		Raw: make(map[string]map[string]*meter.Series),
	}
}

// value is the quantity that a figure itself is.
const value = "value"

// add takes a round's value of a quantity; that of the figure itself if the quantity has no name.
func (r *Report) add(figure, quantity string, n float64) {
	if quantity == "" {
		quantity = value
	}
	if r.Raw[figure] == nil {
		r.Raw[figure] = make(map[string]*meter.Series)
	}
	if r.Raw[figure][quantity] == nil {
		r.Raw[figure][quantity] = new(meter.Series)
	}
	r.Raw[figure][quantity].Add(n)
}

// series of a figure; nil if it was not measured.
func (r *Report) series(figure string) *meter.Series { return r.Raw[figure][value] }

// finish puts the medians in their places.
func (r *Report) finish() error {
	measured := false
	for name, into := range map[string]**float64{
		InsertShareForecast: &r.InsertShareForecast, InsertSharePeople: &r.InsertSharePeople, DuplicatesGain: &r.DuplicatesGain,
		LedgerShare: &r.Ledger50MShare, AllocsPerEvent: &r.AllocsPerEvent, ConsumerRSS: &r.ConsumerRSSMB, FreshnessP50: &r.FreshnessP50S,
		FreshnessP99: &r.FreshnessP99S, ProducerRate: &r.ProducerEventsPerS, StartLedger: &r.Start50MLedgerS,
		ExportRate: &r.Export500MBEntriesPerS, ExportRSS: &r.Export500MBRSSMB,
		WebhookP99: &r.WebhookP99MS, WebhookMost: &r.WebhookDeliveriesPerS,
		ReplayRate: &r.ReplayLettersPerS, ReplayRSS: &r.ReplayRSSMB, ListFirst: &r.ListFirstRowS,
		ViewsPoint: &r.ViewsPointMS, ViewsAggregate: &r.ViewsAggregateS, ViewsQuota: &r.ViewsQuotaS,
	} {
		if series := r.series(name); series != nil {
			*into, measured = &series.Median, true
		}
	}
	if !measured {
		return errors.New("nothing was measured")
	}
	return nil
}

// Write writes the report as JSON.
func (r *Report) Write(path string) error {
	return writeJSON(path, r)
}

func writeJSON(path string, v any) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(v)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, out.Bytes(), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
