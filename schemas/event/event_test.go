package event_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/schemas/event"
)

type fact struct {
	event.Envelope
	key string
	err error
}

func (f *fact) Head() *event.Envelope { return &f.Envelope }
func (*fact) Entity() string          { return "fact" }
func (f *fact) Key() string           { return f.key }

func (f *fact) AppendKey(dst []byte) []byte { return append(dst, f.key...) }

func (f *fact) Validate() error { return f.err }

// TestIDIsPinned: IDs stand on topics and in ledgers, so how they are made can
// never change.
func TestIDIsPinned(t *testing.T) {
	t.Parallel()
	version := time.UnixMicro(1_709_803_574_444_910)
	upsert, err := event.NewID("person", "salesloft:1", version, event.Upsert)
	require.NoError(t, err)
	require.Equal(t, "018e183c-14ac-838e-88d6-29869a1105f1", upsert.String())
	deleted, err := event.NewID("person", "salesloft:1", version, event.Delete)
	require.NoError(t, err)
	require.Equal(t, "018e183c-14ac-838e-afc2-92b7c4d9ce67", deleted.String())
	require.Equal(t, uuid.Version(8), upsert.Version())
	require.Equal(t, uuid.RFC4122, upsert.Variant())
}

func TestIDsSortByVersionThenDelete(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var ids []uuid.UUID
	micros := int64(0)
	for range 2000 {
		micros += 1 + rng.Int64N(1_000_000_000_000)
		for _, op := range []event.Operation{event.Upsert, event.Delete} {
			id, err := event.NewID("fact", "k", time.UnixMicro(micros), op)
			require.NoError(t, err)
			ids = append(ids, id)
		}
	}
	require.True(t, slices.IsSortedFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }))
}

func TestIDDependsOnEachPart(t *testing.T) {
	t.Parallel()
	at := time.UnixMicro(1_700_000_000_000_001)
	seen := map[uuid.UUID]string{}
	for _, c := range []struct {
		entity, key string
		at          time.Time
		op          event.Operation
	}{
		{"a", "b", at, event.Upsert}, {"ab", "", at, event.Upsert}, {"", "ab", at, event.Upsert},
		{"a", "c", at, event.Upsert}, {"a", "b", at, event.Delete}, {"a", "b", at.Add(time.Microsecond), event.Upsert},
	} {
		id, err := event.NewID(c.entity, c.key, c.at, c.op)
		require.NoError(t, err)
		require.NotContains(t, seen, id)
		seen[id] = c.key
	}
	same, err := event.NewID("a", "b", at.In(time.FixedZone("x", 3600)), event.Upsert)
	require.NoError(t, err)
	require.Contains(t, seen, same, "the zone of a time is not part of the fact")
}

func TestIDRefusesVersionsItCannotHold(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{time.UnixMicro(-1), time.UnixMilli(1 << 48), {}} {
		_, err := event.NewID("a", "b", at, event.Upsert)
		require.ErrorIs(t, err, event.ErrVersionRange)
	}
	_, err := event.NewID("a", "b", time.UnixMilli(1<<48-1), event.Upsert)
	require.NoError(t, err)
}

// TestTimesThatTheWarehouseCannotHoldAreInvalid: stored, they would be others.
func TestTimesThatTheWarehouseCannotHoldAreInvalid(t *testing.T) {
	t.Parallel()
	day := func(year int, month time.Month, day int) *time.Time {
		at := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
		return &at
	}
	require.NoError(t, event.CheckTimes(event.Moment{Name: "a", Time: nil}, event.Moment{Name: "b", Time: day(1900, 1, 1)}, event.Moment{Name: "c", Time: day(2261, 12, 31)}))
	err := event.CheckTimes(event.Moment{Name: "early", Time: day(1899, 12, 31)}, event.Moment{Name: "fine", Time: day(2000, 1, 1)}, event.Moment{Name: "late", Time: day(2262, 1, 1)})
	require.ErrorIs(t, err, event.ErrTimeRange)
	require.EqualError(t, err, "early: not a time from 1900 to 2261\nlate: not a time from 1900 to 2261")
	require.ErrorIs(t, event.Seal(&fact{key: "k"}, event.Upsert, *day(2262, 1, 1), *day(2000, 1, 1), "run"), event.ErrTimeRange)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	sealed := func() *fact {
		f := &fact{key: "k"}
		require.NoError(t, event.Seal(f, event.Upsert, time.UnixMicro(5), time.UnixMicro(9), "run"))
		return f
	}
	require.NoError(t, event.Check(sealed(), []byte("k")))
	for name, c := range map[string]struct {
		change func(*fact)
		key    string
		want   string
	}{
		"no key":        {func(*fact) {}, "", "no key"},
		"other key":     {func(*fact) {}, "x", "record's key"},
		"operation":     {func(f *fact) { f.Operation = "MERGE" }, "k", "operation"},
		"foreign ID":    {func(f *fact) { f.EventID = uuid.New() }, "k", "event_id"},
		"newer version": {func(f *fact) { f.SourceVersion = f.SourceVersion.Add(time.Hour) }, "k", "event_id"},
		"version range": {func(f *fact) { f.SourceVersion = time.UnixMicro(-1) }, "k", "source_version"},
		"far version":   {func(f *fact) { f.SourceVersion = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC) }, "k", "source_version: not a time"},
		"no observed":   {func(f *fact) { f.ObservedAt = time.Time{} }, "k", "observed_at: not a time"},
		"content":       {func(f *fact) { f.err = errors.New("bad content") }, "k", "bad content"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := sealed()
			c.change(f)
			require.ErrorContains(t, event.Check(f, []byte(c.key)), c.want)
		})
	}
}
