package forecast_test

import (
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
)

// sealed is a valid event with every field that Validate looks at.
func sealed(t testing.TB) *forecast.Forecast {
	t.Helper()
	start, end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)
	value, err := money.Parse("125000.50")
	require.NoError(t, err)
	f := &forecast.Forecast{
		ForecastID: "forecast", TimePeriodID: "2026_Q1", TimeFrameID: "TF:2026-01-05", UserID: "280627:00E4M000001RgqRUAS", FieldID: "fc_net_commit",
		Kind: forecast.KindCRMTotal, Value: &value, CurrencyCode: new("USD"), UpdatedOn: &start, JobID: "job",
		TimePeriodStart: &start, TimePeriodEnd: &end, TimeFrameStart: &start, TimeFrameEnd: &end,
	}
	require.NoError(t, event.Seal(f, event.Upsert, time.UnixMicro(1_700_000_000_000_001), time.UnixMicro(1_700_000_001_000_000), "run"))
	return f
}

//nolint:paralleltest // allocations are the whole process's
func TestCheckOfAValidEventCostsNoMemory(t *testing.T) {
	f := sealed(t)
	key := []byte(f.Key())
	require.NoError(t, event.Check(f, key))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if err := event.Check(f, key); err != nil {
			panic(err)
		}
	}))
}

//nolint:paralleltest // allocations are the whole process's
func TestSealingAndWritingCostNoMemory(t *testing.T) {
	f, room := sealed(t), make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if err := event.Seal(f, event.Upsert, f.SourceVersion, f.ObservedAt, "run"); err != nil {
			panic(err)
		}
		_ = f.AppendAvro(room)
	}))
}

func TestKeyIsItsParts(t *testing.T) {
	t.Parallel()
	f := sealed(t)
	require.Equal(t, "forecast|2026_Q1|TF:2026-01-05|280627:00E4M000001RgqRUAS|fc_net_commit|crm_total", f.Key())
	require.Equal(t, "before"+f.Key(), string(f.AppendKey([]byte("before"))))
}

func TestValidateNamesEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	require.NoError(t, sealed(t).Validate())
	f := sealed(t)
	f.ForecastID, f.UserID, f.Kind, f.CurrencyCode = "", "secret|secret", "Secret", new("secret")
	f.Value = &money.Amount{0x7f}
	f.UpdatedOn = new(time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC))
	f.TimePeriodStart, f.TimePeriodEnd = f.TimePeriodEnd, f.TimePeriodStart
	f.TimeFrameStart, f.TimeFrameEnd = f.TimeFrameEnd, f.TimeFrameStart
	require.EqualError(t, f.Validate(), strings.Join([]string{
		"forecast_id is empty",
		"user_id contains |, which separates the parts of the key",
		"kind is not a snake_case name",
		"value exceeds decimal(38,18)",
		"currency_code is not three capital letters",
		"updated_on: not a time from 1900 to 2261",
		"time_period_end is before time_period_start",
		"time_frame_end is before time_frame_start",
	}, "\n"))
}

// The shapes that Validate is held to.
var (
	kindShape     = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	currencyShape = regexp.MustCompile(`^[A-Z]{3}$`)
)

func FuzzShapes(f *testing.F) {
	for _, seed := range []string{
		"", "a", "Z", "_a", "0a", "a_0", "crm_total", "aA", "a-b", "é", "a\n", "EUR", "EU", "EURO", "eUR", "E R", "[[[", "@@@", "ÄÖ",
		strings.Repeat("a", 64), strings.Repeat("a", 65), "a`", "a{", "a/", "a:",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := sealed(t)
		e.Kind = text
		require.Equal(t, kindShape.MatchString(text), e.Validate() == nil, "kind %q", text)
		e = sealed(t)
		e.CurrencyCode = &text
		require.Equal(t, currencyShape.MatchString(text), e.Validate() == nil, "currency %q", text)
	})
}

// encoded are the bytes of an event as its schema writes them, and where in them the content is.
func encoded(t *testing.T, f *forecast.Forecast) (all, content []byte) {
	t.Helper()
	all, err := forecast.Schema.Encode(f)
	require.NoError(t, err)
	head := 1 + len(f.EventID.String()) // with its length
	for _, micros := range []int64{f.SourceVersion.UnixMicro(), f.ObservedAt.UnixMicro()} {
		head += len(binary.AppendVarint(nil, micros))
	}
	head += 1 + len(binary.AppendVarint(nil, int64(len(f.CorrelationID)))) + len(f.CorrelationID)
	return all, all[head : len(all)-len(binary.AppendVarint(nil, int64(len(f.JobID))))-len(f.JobID)]
}

// TestContentIsThatOfTheSchema sets one field after another, and all of them at random, also those that a newer schema adds.
func TestContentIsThatOfTheSchema(t *testing.T) {
	t.Parallel()
	same := func(f *forecast.Forecast) []byte {
		all, want := encoded(t, f)
		require.Equal(t, want, f.AppendContent(nil))
		require.Equal(t, all, f.AppendAvro(nil))
		return want
	}
	rng := rand.New(rand.NewPCG(1, 2))
	fresh := func() *forecast.Forecast {
		f := new(forecast.Forecast)
		op := []event.Operation{event.Upsert, event.Delete}[rng.IntN(2)]
		require.NoError(t, event.Seal(f, op, time.UnixMicro(rng.Int64N(1<<52)), time.UnixMicro(rng.Int64N(1<<52)), strings.Repeat("run", rng.IntN(30))))
		return f
	}
	empty := same(fresh())
	for i := 1; i < reflect.TypeFor[forecast.Forecast]().NumField(); i++ { // the first is the envelope
		f := fresh()
		field := reflect.ValueOf(f).Elem().Field(i)
		for range 20 {
			fill(t, rng, field)
			name := reflect.TypeFor[forecast.Forecast]().Field(i).Name
			if got := same(f); name == "JobID" {
				require.Equal(t, empty, got)
			} else {
				require.NotEqual(t, empty, got, name)
			}
		}
	}
	for range 2000 {
		f := fresh()
		for i := 1; i < reflect.TypeFor[forecast.Forecast]().NumField(); i++ {
			if rng.IntN(3) > 0 {
				fill(t, rng, reflect.ValueOf(f).Elem().Field(i))
			}
		}
		same(f)
	}
}

// fill gives a field a value that is not the zero one.
func fill(t *testing.T, rng *rand.Rand, field reflect.Value) {
	t.Helper()
	text := func() string { return strings.Repeat("é", 1+rng.IntN(30)) }
	// From 1900 to 2261, at any time of the day.
	moment := func() time.Time {
		return time.Date(1900+rng.IntN(362), 1, 1+rng.IntN(365), rng.IntN(24), rng.IntN(60), 0, rng.IntN(1e9), time.FixedZone("", 3600*(rng.IntN(23)-11)))
	}
	switch field.Interface().(type) {
	case string:
		field.SetString(text())
	case *string:
		field.Set(reflect.ValueOf(new(text())))
	case bool:
		field.SetBool(true)
	case *int32:
		field.Set(reflect.ValueOf(new(rng.Int32() - 1<<30)))
	case *time.Time:
		field.Set(reflect.ValueOf(new(moment())))
	case *money.Amount:
		var a money.Amount
		for i := range a {
			a[i] = byte(rng.Uint32())
		}
		field.Set(reflect.ValueOf(&a))
	default:
		require.Fail(t, "a field of a new type", field.Type().String())
	}
}
