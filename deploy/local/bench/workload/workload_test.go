package workload_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/schemas/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// requireWorkload holds events to what benchmarks need of them.
func requireWorkload[E event.Event](t *testing.T, make func(int, time.Time) (E, error)) {
	t.Helper()
	keys := map[string]bool{}
	var before [16]byte
	for i := range 20_000 {
		e, err := make(i, workload.Version(i))
		require.NoError(t, err)
		require.NoError(t, event.Check(e, []byte(e.Key())), i)
		require.False(t, keys[e.Key()], "two events have key %s", e.Key())
		keys[e.Key()] = true
		id := e.Head().EventID
		require.Negative(t, compare(before, id), "IDs are in the order of the versions")
		before = id
		if i%1000 == 0 {
			again, err := make(i, workload.Version(i))
			require.NoError(t, err)
			require.Equal(t, e, again, "the number decides")
			requireFilled(t, e)
		}
	}
}

func compare(a, b [16]byte) int {
	for i := range a {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return 0
}

// requireFilled: no column is null or empty.
func requireFilled(t *testing.T, e event.Event) {
	t.Helper()
	v := reflect.ValueOf(e).Elem()
	for _, field := range reflect.VisibleFields(v.Type()) {
		if name := field.Tag.Get("avro"); name != "" && field.Type.Kind() != reflect.Bool {
			require.False(t, v.FieldByIndex(field.Index).IsZero(), name)
		}
	}
}

func TestForecasts(t *testing.T) {
	t.Parallel()
	requireWorkload(t, workload.Forecast)
}

func TestPeople(t *testing.T) {
	t.Parallel()
	requireWorkload(t, workload.Person)
}

func TestScatteredVersionsAreAnywhereInTheSpan(t *testing.T) {
	t.Parallel()
	const span = 1000 * time.Hour
	version := workload.Scattered(1, workload.Epoch, span)
	var parts [10]int
	for i := range 10_000 {
		v := version(i)
		require.Equal(t, v, version(i))
		require.Equal(t, v, v.Truncate(time.Microsecond))
		parts[v.Sub(workload.Epoch)*10/span]++
	}
	for _, n := range parts {
		require.InDelta(t, 1000, n, 200)
	}
}

func TestEventsPassesOnWhatFails(t *testing.T) {
	t.Parallel()
	var made []event.Event
	for e, err := range workload.Events(3, 6, func(i int) (event.Event, error) { return workload.Person(i, workload.Version(i)) }) {
		require.NoError(t, err)
		made = append(made, e)
	}
	require.Len(t, made, 3)
	require.Equal(t, "salesloft:100003", made[0].Key())
	for _, err := range workload.Events(0, 6, func(int) (event.Event, error) { return nil, event.ErrTimeRange }) {
		require.ErrorIs(t, err, event.ErrTimeRange)
		break
	}
}
