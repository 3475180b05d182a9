package verify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/deploy/local/faults/plan"
	"github.com/revstream/revstream/deploy/local/faults/verify"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

// found are the counts of a verification of the warehouse.
type found struct{ lost, doubled, stale, foreign int }

// TestWarehouseFindsWhatIsPlanted: in a copy of what the consumers have made, each kind of fault is found, and nothing
// else.
func TestWarehouseFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	needKcat(t)
	w := newWorld(t, 3000)
	w.load()
	stop := w.consume()
	committed := w.drained()
	stop()

	shown, older := w.pair(schemas.ForecastTopic, true)
	hidden, before := w.pair(schemas.PeopleTopic, false)
	person := w.model.Topics[schemas.PeopleTopic].Key(w.model.Topics[schemas.PeopleTopic].Visible(false)[0])
	person = strings.TrimPrefix(person, "salesloft:")
	unknown := w.fact(schemas.ForecastTopic, plan.UnknownSchema)
	const sync = " SETTINGS mutations_sync = 2"
	// replace makes current show another version of a key.
	replace := func(table, old, new string) []string {
		return []string{
			fmt.Sprintf("ALTER TABLE %s_current DELETE WHERE event_id = '%s'%s", table, old, sync),
			fmt.Sprintf("INSERT INTO %s_current SELECT * EXCEPT(kafka_topic, kafka_partition, kafka_offset) FROM %s_history WHERE event_id = '%s'", table, table, new),
		}
	}
	for name, c := range map[string]struct {
		plant []string
		want  found
		says  string
	}{
		"nothing":                      {nil, found{}, ""},
		"inserted again, which merges": {[]string{"INSERT INTO forecast_history SELECT * FROM forecast_history"}, found{}, ""},
		"not in the history": {[]string{"ALTER TABLE forecast_history DELETE WHERE event_id = '" + shown + "'" + sync},
			found{lost: 1}, shown},
		"a history that does not merge": {[]string{
			"RENAME TABLE people_history TO merging",
			"CREATE TABLE people_history ENGINE = MergeTree ORDER BY person_id AS SELECT * FROM merging",
			"INSERT INTO people_history SELECT * FROM merging WHERE event_id = '" + before + "'",
			"INSERT INTO people_history SELECT * FROM merging WHERE event_id = '" + before + "'",
		}, found{doubled: 1}, before},
		"a view that shows a key twice": {[]string{
			"DROP VIEW people_full",
			"CREATE VIEW people_full AS SELECT * FROM people_current FINAL UNION ALL SELECT * FROM people_current FINAL WHERE person_id = " + person,
		}, found{doubled: 1}, person},
		"an older version":              {replace("forecast", shown, older), found{stale: 1}, "source_version"},
		"a key that should be deleted":  {replace("people", hidden, before), found{stale: 1}, "deleted"},
		"a key that should be there":    {replace("forecast", shown, uuid.NewString()), found{stale: 1}, "is not there"},
		"an amount by the 18th decimal": {[]string{"ALTER TABLE forecast_current UPDATE value = ifNull(value, 0) + toDecimal256('0.000000000000000001', 18) WHERE event_id = '" + shown + "'" + sync}, found{stale: 1}, " value"},
		"a text that is null":           {[]string{"ALTER TABLE people_current UPDATE custom_fields = map('a', 'b'), city = ifNull(city, '') || '\t' WHERE person_id = " + person + sync}, found{stale: 1}, "city, custom_fields"},
		"an event of nobody":            {[]string{"INSERT INTO forecast_history SELECT * REPLACE('" + uuid.NewString() + "' AS event_id) FROM (SELECT * FROM forecast_history WHERE event_id = '" + shown + "')"}, found{foreign: 1}, "event"},
		"an event that was poison":      {[]string{"INSERT INTO forecast_history SELECT * REPLACE('" + unknown + "' AS event_id) FROM (SELECT * FROM forecast_history WHERE event_id = '" + shown + "')"}, found{foreign: 1}, unknown},
		"an event under another key":    {[]string{"INSERT INTO people_history SELECT * REPLACE(person_id + 1 AS person_id) FROM people_history WHERE event_id = '" + before + "'"}, found{foreign: 1}, before},
		"a key of nobody":               {[]string{"INSERT INTO people_current SELECT * REPLACE(987654321 AS person_id) FROM (SELECT * FROM people_current FINAL WHERE person_id = " + person + ")"}, found{foreign: 1}, "987654321"},
	} {
		t.Run(name, func(t *testing.T) {
			url := w.copyTables(t)
			for _, statement := range c.plant {
				pipelinetest.SQL(t, url, statement)
			}
			rows, err := verify.Warehouse(t.Context(), url, w.model, false)
			require.NoError(t, err)
			require.Equal(t, c.want, found{rows.Lost.Count, rows.Doubled.Count, rows.Stale.Count, rows.Foreign.Count}, "%+v", rows)
			require.Contains(t, fmt.Sprintf("%+v", rows), c.says)

			violations, err := verify.NewSampler(w.brokers, url, w.model).Settled(t.Context(), committed)
			require.NoError(t, err)
			require.Equal(t, c.want.lost > 0, len(violations) > 0, "%v", violations)
		})
	}
}

// TestSamplerFindsAnOffsetThatRanAhead of a letter, once, and looks again at what it could not read.
func TestSamplerFindsAnOffsetThatRanAhead(t *testing.T) {
	t.Parallel()
	needKcat(t)
	w := newWorld(t, 1500)
	w.load()
	stop := w.consume()
	committed := w.drained()
	stop()
	sampler := verify.NewSampler(w.brokers, w.url, w.model)
	violations, err := sampler.Settled(t.Context(), committed)
	require.NoError(t, err)
	require.Empty(t, violations)

	// One that the warehouse has and one that has no letter are published again, and nobody reads them.
	records := pipelinetest.ReadAll(t, w.cluster, schemas.ForecastTopic)
	again := map[bool]*kgo.Record{}
	for _, rec := range records {
		again[w.model.Topics[rec.Topic].Poison[plan.Print(rec.Key, rec.Value)].Steps > 0] = rec
	}
	client := pipelinetest.Client(t, w.cluster, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for _, poison := range []bool{false, true} {
		rec := again[poison]
		require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Topic: rec.Topic, Partition: 2, Key: rec.Key, Value: rec.Value, Headers: rec.Headers}).FirstErr())
	}
	end := committed[schemas.ForecastTopic][2]
	// Partitions are looked at in order, so the violation is found before the error, and must not be forgotten over it.
	people := committed[schemas.PeopleTopic][0]
	committed[schemas.ForecastTopic][2], committed[schemas.PeopleTopic][0] = end+2, people+1
	_, err = sampler.Settled(t.Context(), committed)
	require.ErrorContains(t, err, fmt.Sprintf("ends at offset %d", people))
	committed[schemas.PeopleTopic][0] = people
	violations, err = sampler.Settled(t.Context(), committed)
	require.NoError(t, err)
	require.Len(t, violations, 1)
	require.Equal(t, end+1, violations[0].Offset)
	violations, err = sampler.Settled(t.Context(), committed)
	require.NoError(t, err)
	require.Empty(t, violations)
}

// TestLettersOutliveTheirOriginals: a topic may drop records, and whoever deletes them is no reason to doubt a letter.
func TestLettersOutliveTheirOriginals(t *testing.T) {
	t.Parallel()
	needKcat(t)
	w := newTopics(t, 1500)
	w.load()
	client := pipelinetest.Client(t, w.cluster, deadletter.Options()...)
	gone := make(kadm.Offsets)
	letters := 0
	for _, topic := range plan.Topics() {
		for _, rec := range pipelinetest.ReadAll(t, w.cluster, topic) {
			if w.model.Topics[topic].Poison[plan.Print(rec.Key, rec.Value)].Steps > 0 {
				letter := consume.Poison{Record: rec, Stage: consume.StageDecode, Reason: "validation", Failed: time.Now()}
				left, err := deadletter.NewWriter(client, "g", "v").Write(t.Context(), []consume.Poison{letter})
				require.NoError(t, err)
				require.Empty(t, left)
				letters++
			}
			if rec.Partition == 1 {
				gone.AddOffset(topic, 1, rec.Offset, -1) // all but the newest, whatever they are
			}
		}
	}
	_, err := kadm.NewClient(client).DeleteRecords(t.Context(), gone)
	require.NoError(t, err)
	mail := w.letters(false)
	require.Zero(t, mail.Wrong(), "%+v", mail)
	require.Equal(t, letters, mail.Letters)
	require.Less(t, mail.Poison, letters, "some originals are gone")
}

// TestLettersFindsWhatIsPlanted: letters are the real writer's, and one of them is changed.
func TestLettersFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	needKcat(t)
	type counts struct{ missing, altered, foreign, unpublished, copies int }
	for name, c := range map[string]struct {
		plant func(w *world, letter, sound consume.Poison) []consume.Poison // what is written instead of one letter
		want  counts
		empty bool // whether that one is of a record without a value
	}{
		"nothing":   {func(_ *world, letter, _ consume.Poison) []consume.Poison { return []consume.Poison{letter} }, counts{}, false},
		"a copy":    {func(_ *world, letter, _ consume.Poison) []consume.Poison { return []consume.Poison{letter, letter} }, counts{copies: 1}, false},
		"no letter": {func(*world, consume.Poison, consume.Poison) []consume.Poison { return nil }, counts{missing: 1}, false},
		"another byte": {func(_ *world, letter, _ consume.Poison) []consume.Poison {
			letter.Record.Value[len(letter.Record.Value)-1] ^= 1
			return []consume.Poison{letter}
		}, counts{altered: 1, missing: 1}, false},
		"null as empty, or the like": {func(_ *world, letter, _ consume.Poison) []consume.Poison {
			if letter.Record.Value != nil {
				letter.Record.Value = nil
			} else {
				letter.Record.Value = []byte{}
			}
			return []consume.Poison{letter}
		}, counts{altered: 1, missing: 1}, true},
		"another key": {func(_ *world, letter, _ consume.Poison) []consume.Poison {
			letter.Record.Key = append(letter.Record.Key, 'x')
			return []consume.Poison{letter}
		}, counts{altered: 1, missing: 1}, false},
		"no origin": {func(w *world, letter, _ consume.Poison) []consume.Poison {
			raw := &kgo.Record{Topic: schemas.DLQTopic(letter.Record.Topic), Key: letter.Record.Key, Value: letter.Record.Value, Headers: letter.Record.Headers}
			require.NoError(w.t, pipelinetest.Client(w.t, w.cluster).ProduceSync(w.t.Context(), raw).FirstErr())
			return nil
		}, counts{altered: 1, missing: 1}, false},
		"an event that is good": {func(_ *world, letter, sound consume.Poison) []consume.Poison { return []consume.Poison{letter, sound} }, counts{foreign: 1}, false},
		"a record that was never there": {func(w *world, letter, _ consume.Poison) []consume.Poison {
			w.withhold(letter.Record, []byte("never there"))
			return []consume.Poison{letter}
		}, counts{unpublished: 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTopics(t, 1500)
			w.load()
			var letters []consume.Poison
			var sound consume.Poison
			chosen := -1
			for _, topic := range plan.Topics() {
				for _, rec := range pipelinetest.ReadAll(t, w.cluster, topic) {
					letter := consume.Poison{Record: rec, Stage: consume.StageDecode, Reason: "validation", Message: "one\ntwo, dlq-offset=7", Failed: time.Now()}
					kind := w.model.Topics[topic].Poison[plan.Print(rec.Key, rec.Value)].Kind
					if kind == plan.Sound {
						sound = letter
						continue
					}
					if c.empty && len(rec.Value) == 0 || !c.empty && kind == plan.Invalid {
						chosen = len(letters)
					}
					letters = append(letters, letter)
				}
			}
			planted := c.plant(w, letters[chosen], sound)
			letters = append(slices.Delete(letters, chosen, chosen+1), planted...)
			writer := deadletter.NewWriter(pipelinetest.Client(t, w.cluster, deadletter.Options()...), "g", "v")
			for _, letter := range letters { // each of one topic
				left, err := writer.Write(t.Context(), []consume.Poison{letter})
				require.NoError(t, err)
				require.Empty(t, left)
			}
			mail := w.letters(false)
			require.Equal(t, c.want, counts{mail.Missing.Count, mail.Altered.Count, mail.Foreign.Count, mail.Unpublished.Count, mail.Copies}, "%+v", mail)
		})
	}
}

// withhold makes the model expect a record that nobody has published.
func (w *world) withhold(rec *kgo.Record, value []byte) {
	w.model.Topics[rec.Topic].Poison[plan.Print(rec.Key, value)] = plan.Letters{Kind: plan.Corrupt, Steps: 1}
}

// pair finds a key of a topic whose newest fact is of a kind, a delete or not, and that has an older upsert.
func (w *world) pair(topic string, visible bool) (newest, older string) {
	w.t.Helper()
	t := w.model.Topics[topic]
	upserts := make(map[string][]int)
	for i, f := range t.Facts {
		if f.Kind == plan.Sound && !t.Deletes(i) {
			upserts[t.Key(i)] = append(upserts[t.Key(i)], i)
		}
	}
	for i, f := range slices.Backward(t.Facts) {
		key := t.Key(i)
		at, shown := t.Newest(key, false)
		if f.Kind != plan.Sound || at != i || shown != visible {
			continue
		}
		for _, old := range upserts[key] {
			if old < i {
				return f.ID.String(), t.Facts[old].ID.String()
			}
		}
	}
	require.Fail(w.t, "the plan has no such key")
	return "", ""
}

// fact is the ID of an event of a kind.
func (w *world) fact(topic string, kind plan.PoisonKind) string {
	facts := w.model.Topics[topic].Facts
	return facts[slices.IndexFunc(facts, func(f plan.Fact) bool { return f.Kind == kind })].ID.String()
}

// copyTables returns the URL of a database with what the consumers have made.
func (w *world) copyTables(t *testing.T) string {
	t.Helper()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	from := w.url[strings.LastIndex(w.url, "/")+1:]
	for _, table := range []string{"forecast_history", "forecast_current", "people_history", "people_current"} {
		pipelinetest.SQL(t, url, fmt.Sprintf("INSERT INTO %s SELECT * FROM %s.%s", table, from, table))
	}
	return url
}
