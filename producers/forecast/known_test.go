package forecast

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	entity "github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/wire"
)

func at(seconds int64) time.Time { return time.Unix(1_770_000_000+seconds, 0).UTC() }

func TestCompare(t *testing.T) {
	t.Parallel()
	const old, changed = contentHash(1), contentHash(3)
	micro := time.Microsecond
	for name, c := range map[string]struct {
		last      time.Time // zero: the key is new
		content   contentHash
		updatedOn time.Time
		jobStart  time.Time
		want      time.Time // zero: no news
	}{
		"new, updated":                {content: changed, updatedOn: at(5), jobStart: at(9), want: at(5)},
		"new, not updated":            {content: changed, jobStart: at(9), want: at(9)},
		"unchanged":                   {last: at(1), content: old, jobStart: at(9)},
		"unchanged, updatedOn newer":  {last: at(1), content: old, updatedOn: at(5), jobStart: at(9)},
		"changed, updated":            {last: at(1), content: changed, updatedOn: at(5), jobStart: at(9), want: at(5)},
		"changed, not updated":        {last: at(1), content: changed, jobStart: at(9), want: at(9)},
		"changed, updatedOn older":    {last: at(7), content: changed, updatedOn: at(5), jobStart: at(9), want: at(9)},
		"changed, updatedOn the same": {last: at(5), content: changed, updatedOn: at(5), jobStart: at(9), want: at(9)},
		"changed, clock ahead":        {last: at(99), content: changed, updatedOn: at(5), jobStart: at(9), want: at(99).Add(micro)},
		"changed, same job start":     {last: at(9), content: changed, jobStart: at(9), want: at(9).Add(micro)},
		"updatedOn after job start":   {last: at(1), content: changed, updatedOn: at(11), jobStart: at(9), want: at(11)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKnown()
			key := keyHash{1, 2}
			if !c.last.IsZero() {
				k.begin()
				k.published(key, old, c.last)
			}
			k.begin()
			is, got, err := k.compare(key, c.content, c.updatedOn, c.jobStart)
			require.NoError(t, err)
			if c.want.IsZero() {
				require.Equal(t, stands, is)
				c.want = c.last
			} else {
				require.Equal(t, news, is)
			}
			require.True(t, c.want.Equal(got), "want %s, got %s", c.want, got)
		})
	}
}

func TestKeyWithTwoValuesInOneExport(t *testing.T) {
	t.Parallel()
	k := newKnown()
	key := keyHash{1, 2}
	k.begin()
	k.published(key, 1, at(1))
	is, _, err := k.compare(key, 1, time.Time{}, at(2))
	require.NoError(t, err)
	require.Equal(t, repeated, is)
	_, _, err = k.compare(key, 3, time.Time{}, at(2))
	require.ErrorIs(t, err, errTwice)
}

func value(t *testing.T, user, digits string, version time.Time) *entity.Forecast {
	t.Helper()
	amount, err := money.Parse(digits)
	require.NoError(t, err)
	f := &entity.Forecast{
		ForecastID: "f", TimePeriodID: "2026_Q1", TimeFrameID: "TF:2026-01-05", UserID: user, FieldID: "x", Kind: "forecast", Value: &amount, JobID: "j",
	}
	require.NoError(t, event.Seal(f, event.Upsert, version, at(0), "run"))
	return f
}

// TestKnownIsWhatTheTopicHolds: committed events alone, of each key the newest by its version, and whatever else is on
// the topic neither counts nor stops.
func TestKnownIsWhatTheTopicHolds(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ForecastTopic)
	registry, err := wire.NewRegistry(pipelinetest.Registry(t))
	require.NoError(t, err)
	registered, err := registry.Register(t.Context(), schemas.ForecastTopic, schemas.MustAvro(entity.SchemaFile))
	require.NoError(t, err)
	encoder := wire.NewEncoder(entity.Schema, registered.ID)
	record := func(f *entity.Forecast) *kgo.Record {
		raw, err := encoder.Encode(f)
		require.NoError(t, err)
		return &kgo.Record{Topic: schemas.ForecastTopic, Key: []byte(f.Key()), Value: raw}
	}
	newest := value(t, "late", "2", at(5))
	buried := value(t, "buried", "1", at(5))
	foreign := record(value(t, "foreign", "1", at(1)))
	foreign.Key = []byte("another key")
	client := pipelinetest.Client(t, cluster)
	require.NoError(t, client.ProduceSync(t.Context(),
		record(value(t, "once", "1", at(1))),
		record(newest),
		record(value(t, "late", "1", at(4))), // replayed: it arrives later and is older
		&kgo.Record{Topic: schemas.ForecastTopic, Key: []byte("k"), Value: []byte("not Avro")},
		&kgo.Record{Topic: schemas.ForecastTopic, Key: []byte("k")},
		record(buried), &kgo.Record{Topic: schemas.ForecastTopic, Key: []byte(buried.Key())},
		foreign,
	).FirstErr())
	// Aborted, so the end of the topic is a marker and not a record.
	tx := pipelinetest.Client(t, cluster, kgo.TransactionalID("replayer"))
	require.NoError(t, tx.BeginTransaction())
	require.NoError(t, tx.ProduceSync(t.Context(), record(value(t, "aborted", "1", at(1))), record(value(t, "late", "9", at(9)))).FirstErr())
	require.NoError(t, tx.EndTransaction(t.Context(), kgo.TryAbort))

	k := newKnown()
	require.NoError(t, k.Refresh(t.Context(), client, registry, slog.New(slog.DiscardHandler)))
	require.Equal(t, 3, k.Len())
	require.Equal(t, 2, k.skipped)
	key, content := k.hash(newest)
	have, ok := k.facts.get(key)
	require.True(t, ok)
	require.Equal(t, fact{version: at(5).UnixMicro(), content: content}, have)

	key, content = k.hash(buried)
	is, version, err := k.compare(key, content, at(5), at(9))
	require.NoError(t, err)
	require.Equal(t, news, is, "what a tombstone has taken from the topic is published again")
	require.Equal(t, at(9), version, "as a version that is newer than what the warehouse may have")
}

func TestContentIsWithoutEnvelopeAndJob(t *testing.T) {
	t.Parallel()
	k := newKnown()
	hash := func(f *entity.Forecast) contentHash {
		_, content := k.hash(f)
		return content
	}
	a, b := value(t, "u", "1", at(1)), value(t, "u", "1", at(2))
	b.JobID, b.CorrelationID, b.ObservedAt = "other", "other", at(3)
	require.Equal(t, hash(a), hash(b))
	b.IsUpdated = true
	require.NotEqual(t, hash(a), hash(b))
	require.NotEqual(t, hash(a), hash(value(t, "u", "1.000000000000000001", at(1))))
	require.Equal(t, hash(a), hash(value(t, "u", "1.0", at(1))))
}

// TestAKeyWithTwoValuesDoesNotFlip: an export with two values of one key has
// one fact, however often it is repeated. The second value was news in every
// export in which the first was not.
func TestAKeyWithTwoValuesDoesNotFlip(t *testing.T) {
	t.Parallel()
	k := newKnown()
	key := keyHash{1, 2}
	published := 0
	for export := range 6 {
		k.begin()
		for _, c := range []contentHash{1, 3} {
			is, v, err := k.compare(key, c, time.Time{}, at(int64(export)))
			if err == nil && is == news {
				published++
				k.published(key, c, v)
			}
		}
	}
	require.Equal(t, 1, published)
}

// TestAValueThatIsNoNewsCostsNoMemory: nearly all are none.
//
//nolint:paralleltest // allocations are the whole process's
func TestAValueThatIsNoNewsCostsNoMemory(t *testing.T) {
	e := &Exporter{known: newKnown()}
	joiner := newJoiner(&clari.Export{}, "forecast", "job")
	entry := clari.Entry{
		TimePeriodID: "2026_Q1", TimeFrameID: "TF:2026-01-05", UserID: "1:A", FieldID: "fc_net_commit",
		Currency: clari.Currency{Code: "USD", Symbol: "$"}, UpdatedOn: at(1), Values: []clari.Value{{Kind: "forecast", Number: "125000.50"}},
	}
	look := func() {
		f := joiner.join(entry)
		if err := joiner.setValue(entry.Values[0]); err != nil {
			panic(err)
		}
		if changed, err := e.publishValue(t.Context(), f, observation{started: at(2)}); changed || err != nil {
			panic("news")
		}
	}
	f := joiner.join(entry)
	require.NoError(t, joiner.setValue(entry.Values[0]))
	key, content := e.known.hash(f)
	e.known.published(key, content, at(1))
	require.Zero(t, testing.AllocsPerRun(1000, look))
}
