package service_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// newYear is minute 0 of the versions below.
var newYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func minute(n int) time.Time { return newYear.Add(time.Duration(n) * time.Minute) }

// rep is a user of Clari.
type rep struct{ id, name, email, place, above string }

var (
	vp  = rep{"vp", "Vera Pine", "vera@example.com", "h0", ""}
	mgr = rep{"mgr", "Max  Green", "Max.Green@Example.com", "h1", "h0"}
	ann = rep{"ann", "Ann Ó Briain", "ann@example.com", "h2", "h1"}
	bob = rep{"bob", "李娜", "not an address", "h3", "h1"}
	cee = rep{"cee", "", "", "h4", "h0"}
	zed = rep{"zed", "Zed", "z@example.com", "", ""} // of no place
)

// said is a value of a forecast in the first quarter, as of a minute. An empty amount is a null one.
type said struct {
	who      rep
	week     string
	field    string
	kind     string
	amount   string
	currency string
	minute   int
	op       event.Operation
}

func (v said) event(t *testing.T) *forecast.Forecast {
	t.Helper()
	period, start, end := "2026_Q1", newYear, time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)
	if v.week >= "2026-04" {
		period, start, end = "2026_Q2", time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 6, 30, 0, 0, 0, 0, time.UTC)
	}
	first, err := time.Parse(time.DateOnly, v.week)
	require.NoError(t, err)
	f := &forecast.Forecast{
		ForecastID: "net", TimePeriodID: period, TimePeriodStart: &start, TimePeriodEnd: &end, TimeFrameID: "TF:" + v.week, TimeFrameStart: &first,
		TimeFrameEnd: new(first.AddDate(0, 0, 6)), UserID: v.who.id, FieldID: v.field, FieldName: new("Field " + v.field), Kind: v.kind, JobID: "job",
		UserName: optional(v.who.name), UserEmail: optional(v.who.email), HierarchyID: optional(v.who.place), HierarchyName: optional(v.who.place),
		ParentHierarchyID: optional(v.who.above), CurrencyCode: optional(v.currency), UpdatedBy: new("by-" + v.who.id),
	}
	if v.amount != "" {
		amount, err := money.Parse(v.amount)
		require.NoError(t, err)
		f.Value = &amount
	}
	require.NoError(t, event.Seal(f, v.op, minute(v.minute), minute(v.minute).Add(time.Second), "run"))
	return f
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// forecasts arrive in this order: what is at minute 2 comes after what is at minute 3, and some come twice.
func forecasts() [][]said {
	const first, second, q2, up, del = "2026-01-05", "2026-01-12", "2026-04-06", event.Upsert, event.Delete
	return [][]said{{
		{ann, first, "commit", "forecast", "100", "USD", 1, up},
		{ann, first, "commit", "forecast", "100", "USD", 1, up}, // twice
		{ann, first, "commit", "forecast", "150", "USD", 3, up},
		{ann, second, "commit", "forecast", "160", "USD", 5, up},
		{ann, second, "best", "forecast", "300.000000000000000001", "USD", 5, up},
		{ann, second, "commit", "crm_closed", "75", "USD", 5, up},
		{ann, second, "quota", "quota", "200", "USD", 5, up},
		{bob, second, "commit", "forecast", "200", "EUR", 1, up},
		{bob, second, "quota", "quota", "100", "EUR", 1, up},
		{cee, second, "commit", "forecast", "", "USD", 1, up},
		{cee, second, "commit", "forecast", "50", "USD", 2, up},
		{mgr, second, "commit", "forecast", "500", "USD", 1, up},
		{mgr, second, "quota", "quota", "400", "USD", 1, up},
		{vp, second, "commit", "forecast", "900", "USD", 1, up},
		{vp, second, "commit", "quota", "1000", "USD", 1, up}, // of the field itself, beside another
		{vp, second, "quota", "quota", "7", "USD", 1, up},
		{zed, second, "commit", "forecast", "5", "USD", 1, up},
		{zed, second, "quota", "quota", "0", "USD", 1, up},
	}, {
		{ann, first, "commit", "forecast", "120", "USD", 2, up}, // late
		{ann, first, "commit", "forecast", "150", "USD", 4, up}, // nothing of the amount has changed
		{ann, first, "commit", "forecast", "100", "USD", 1, up}, // again, much later
		{bob, second, "commit", "forecast", "200", "EUR", 2, del},
		{cee, second, "commit", "forecast", "50", "EUR", 3, up}, // another currency
		{ann, q2, "commit", "forecast", "10", "USD", 9, up},     // a quarter without quotas
	}, {
		{bob, second, "commit", "forecast", "210", "EUR", 3, up}, // created again
		{cee, second, "best", "forecast", "70", "EUR", 4, del},   // at one version the delete wins, whichever comes first
		{cee, second, "best", "forecast", "70", "EUR", 4, up},
		{ann, second, "commit", "forecast", "0", "USD", 6, up},
		{ann, second, "commit", "forecast", "-40", "USD", 7, up},
	}}
}

func persons() [][]*people.Person {
	sealed := func(n int, op event.Operation, p people.Person) *people.Person {
		p.UpdatedAt, p.Tags, p.CadenceIDs, p.ContactRestrictions = new(minute(n)), []string{}, []int64{}, []string{}
		if err := event.Seal(&p, op, minute(n), minute(n).Add(time.Second), "run"); err != nil {
			panic(err)
		}
		return &p
	}
	ada := people.Person{
		PersonID: 1, FirstName: new("Ada"), LastName: new("King Lovelace"), DisplayName: new("Ada King Lovelace"), EmailAddress: new(" Ada@Example.com "),
		FullEmailAddress: new(`"Ada King" <ada@example.com>`), SecondaryEmailAddress: new(""), PersonalEmailAddress: new("ada@home.example.org"),
		Phone: new("+1 (555) 010-1234"), PhoneExtension: new("77"), HomePhone: new("112"), LinkedinURL: new("https://linkedin.example/ada"),
		PersonalWebsite: new(""), TwitterHandle: new("@ada"), City: new("London"), CustomFields: map[string]string{"shoe size": "38"},
		Extra: map[string]string{"x": "1"}, EmailsSent: new(int64(3)),
	}
	older := ada
	older.City, older.Phone = new("Paris"), nil
	bea := people.Person{PersonID: 2, FirstName: new("Ðéa"), EmailAddress: new("ada@example.com"), Phone: new("15550101234"), MobilePhone: new("5550101")}
	odd := people.Person{PersonID: 3, EmailAddress: new("who@knows"), Phone: new("ask Ada, 555 010 1234"), FullEmailAddress: new("Odd One")}
	return [][]*people.Person{
		{sealed(1, event.Upsert, older), sealed(1, event.Upsert, older), sealed(2, event.Upsert, bea), sealed(2, event.Upsert, odd), sealed(1, event.Upsert, people.Person{PersonID: 4})},
		{sealed(3, event.Upsert, ada), sealed(1, event.Upsert, bea), sealed(3, event.Delete, odd), sealed(2, event.Delete, people.Person{PersonID: 4})},
		{sealed(2, event.Upsert, older), sealed(3, event.Upsert, people.Person{PersonID: 4, DisplayName: new("back again")}), sealed(3, event.Upsert, odd)},
	}
}

func runs() []*exportrun.ExportRun {
	run := func(id, source, entity, scope string, day, seconds int, outcome exportrun.Outcome, rows int64) *exportrun.ExportRun {
		requested := newYear.AddDate(0, 0, day).Add(time.Hour)
		completed := requested.Add(time.Duration(seconds) * time.Second)
		r := &exportrun.ExportRun{
			RunID: source + ":" + id, Source: source, OfEntity: entity, Scope: scope, Kinds: []string{}, RequestedAt: requested, CompletedAt: completed,
			RowsExpected: rows, RowsPublished: rows / 2, RowsUnchanged: rows - rows/2, Outcome: outcome,
		}
		if err := event.Seal(r, event.Upsert, completed, completed, id); err != nil {
			panic(err)
		}
		return r
	}
	return []*exportrun.ExportRun{
		run("a", "clari", "forecast", "net", 0, 10, exportrun.Succeeded, 100), run("b", "clari", "forecast", "net", 0, 20, exportrun.Partial, 50),
		run("c", "clari", "forecast", "net", 0, 600, exportrun.Failed, 0), run("d", "clari", "forecast", "net", 0, 5, exportrun.Cancelled, 0),
		run("e", "clari", "forecast", "net", 2, 30, exportrun.Succeeded, 100),                // no run on the day between
		run("f", "clari", "forecast", "net", 3, 1, exportrun.Failed, 0),                      // none that succeeded
		run("g", "salesloft", "people", "people", 0, 1, exportrun.Succeeded, 4),              //
		run("h", "salesloft", "people", "backfill", 5, 7200, exportrun.Succeeded, 1_000_000), // says nothing of how fresh the list is
		run("h", "salesloft", "people", "backfill", 5, 7200, exportrun.Succeeded, 1_000_000), // twice
		run("i", "salesloft", "people", "people", 6, 86_400, exportrun.Cancelled, 0),         // counts for the day of its end
	}
}

// goldenViews are read in this order. What the clock of the test's machine decides is left out.
var goldenViews = []struct{ name, sql string }{
	{"forecast", "SELECT * EXCEPT (ingested_at) FROM forecast"},
	{"forecast_full", "SELECT * EXCEPT (ingested_at) FROM forecast_full"},
	{"forecast_as_of", "SELECT * FROM forecast_as_of(ts = '2026-01-01 00:02:30')"},
	{"forecast_as_of_later", "SELECT * FROM forecast_as_of(ts = '2026-01-01 00:03:04.999999')"},
	{"forecast_changes", "SELECT * FROM forecast_changes"},
	{"forecast_vs_quota", "SELECT * FROM forecast_vs_quota"},
	{"people", "SELECT * EXCEPT (ingested_at) FROM people"},
	{"people_full", "SELECT * EXCEPT (ingested_at) FROM people_full"},
	{"people_as_of", "SELECT * FROM people_as_of(ts = '2026-01-01 00:02:30')"},
	{"export_runs", "SELECT * EXCEPT (ingested_at) FROM export_runs"},
	{"pipeline_health", "SELECT * FROM pipeline_health"},
	{"freshness", "SELECT * EXCEPT (age_seconds) FROM freshness"},
	{"reconciliation", "SELECT * EXCEPT (reconciliation_id, checked_at) FROM reconciliation"},
	{"data_quality", "SELECT * EXCEPT (analysis_id, checked_at) FROM data_quality"},
	{"forecast_anomalies", "SELECT * EXCEPT (opened_at, updated_at, run_until, ingested_at) FROM forecast_anomalies FINAL"},
}

// TestViews brings a fixed set of events through the consumers, late ones, doubled ones and deletes among them, and
// holds every view to a file; with all parts as they were inserted, and when they are merged.
func TestViews(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.arrive()
	s.check()
	for _, state := range []string{"unmerged", "merged"} {
		for _, view := range goldenViews {
			got := s.sql(view.sql+" ORDER BY ALL FORMAT TSVWithNames") + "\n"
			golden := filepath.Join("testdata", "views", view.name+".tsv")
			if *update && state == "unmerged" {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got, "%s, %s", view.name, state)
		}
		if state == "unmerged" {
			require.NotEqual(t, s.sql("SELECT count() FROM forecast_current"), s.sql("SELECT count() FROM forecast_current FINAL"), "there is something to merge")
			s.sql("SYSTEM START MERGES")
			for _, table := range []string{"forecast_current", "forecast_history", "people_current", "people_history", "export_runs_current"} {
				s.sql("OPTIMIZE TABLE " + table + " FINAL")
			}
		}
	}
}

// arrive fills the tables, batch by batch. Then it sets the clock of what was inserted: 5 seconds after its version, and a day later what
// was late; and the key of the hashes.
func (s *stack) arrive() {
	s.t.Helper()
	admin := kadm.NewClient(s.producer)
	created, err := admin.CreateTopics(s.t.Context(), 1, 1, nil, schemas.ExportRunsTopic, schemas.DLQTopic(schemas.ExportRunsTopic))
	require.NoError(s.t, err)
	require.NoError(s.t, created.Error())
	s.sql("SYSTEM STOP MERGES " + s.database() + ".forecast_current")
	personEncoder, runEncoder := s.registered(schemas.PeopleTopic, people.SchemaFile, people.Schema), s.registered(schemas.ExportRunsTopic, exportrun.SchemaFile, exportrun.Schema)
	for _, r := range runs() {
		s.produce(recordOf(s.t, schemas.ExportRunsTopic, runEncoder, r))
	}
	s.run(consumers.Forecast)
	s.run(consumers.People)
	s.run(consumers.ExportRuns)
	batches := persons()
	for i, batch := range forecasts() {
		for _, v := range batch {
			s.produce(s.record(v.event(s.t.(*testing.T))))
		}
		for _, p := range batches[i] {
			s.produce(recordOf(s.t, schemas.PeopleTopic, personEncoder, p))
		}
		s.drained(schemas.ForecastTopic, "revstream-forecast")
		s.drained(schemas.PeopleTopic, "revstream-people")
	}
	s.drained(schemas.ExportRunsTopic, "revstream-export-runs")
	s.sql("ALTER TABLE forecast_history UPDATE ingested_at = source_version + if(user_id = 'ann' AND value = 120, 86395, 5) WHERE true SETTINGS mutations_sync = 2")
	s.sql("ALTER TABLE people_history UPDATE ingested_at = source_version + if(city = 'Paris' AND source_version > '2026-01-01 00:01:00', 86395, 5) WHERE true SETTINGS mutations_sync = 2")
	s.sql("TRUNCATE TABLE masking_key")
	s.sql("INSERT INTO masking_key VALUES (1, 2, '2026-01-01 00:00:00'), (3, 4, '2026-01-02 00:00:00')")
}

func (s *stack) registered(topic, file string, schema *avro.Schema) *wire.Encoder {
	s.t.Helper()
	registered, err := s.registry.Register(s.t.Context(), topic, schemas.MustAvro(file))
	require.NoError(s.t, err)
	return wire.NewEncoder(schema, registered.ID)
}

func recordOf(t testing.TB, topic string, encoder *wire.Encoder, e event.Event) *kgo.Record {
	t.Helper()
	value, err := encoder.Encode(e)
	require.NoError(t, err)
	rec := &kgo.Record{Topic: topic, Key: []byte(e.Key()), Value: value}
	for _, h := range event.Headers(e, "/golden", "1") {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
	}
	return rec
}
