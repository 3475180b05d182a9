package plan

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/people"
)

const (
	// runSteps is how many steps one export job or sync window publishes.
	runSteps = 1000
	// observedAfter is how long after its source's clock a step is observed.
	observedAfter = 2 * time.Second
)

// Texts as sources send them, and as careless code breaks on: separators of TSV, CSV and Kafka tools, quotes, escapes,
// letters of several bytes, nothing at all.
var texts = []string{
	"Zoë\tO'Brien", "line one\nline two", `"Q" \ Public`, "Đặng Thị 李娜", "", `\N`, "NULL", "a,b;c|d=e", "Юлия 👩‍💻", "null",
	"São Paulo", "\r\n", `{"id":7}`, "Åkesson & Søn <GmbH>", "  padded  ", "% of 100", "N'Diaye -- x", "\u2028 زياد \x01",
}

// Places and kinds that keys are made of: a mixed radix of them is the number of a key.
var (
	kinds = []string{
		forecast.KindForecast, forecast.KindQuota, forecast.KindForecastUpdated,
		forecast.KindAdjustment, forecast.KindCRMTotal, forecast.KindCRMClosed,
	}
	entities   = []string{forecast.Entity, people.Entity} // by the index of Topics
	fields     = []string{"fc_net_commit", "fc_best_case", "fc_pipeline"}
	currencies = []string{"USD", "EUR", "GBP", "JPY"}
)

// event is what a fact looks like when the run of a step observes it.
func (p Plan) event(f fact, run int) event.Event {
	version := time.UnixMicro(f.micros).UTC()
	observed := time.UnixMicro(epochMicros + int64(run)*stepMicros).Add(observedAfter)
	name := fmt.Sprintf("run-%d-%d", p.Seed, run/runSteps)
	content := p.content(f)
	var e event.Event
	if f.topic == 0 {
		e = forecastOf(f, version, content, "job-"+name)
	} else {
		e = personOf(f, version, content)
	}
	if err := event.Seal(e, f.op, version, observed, name); err != nil {
		panic(err) // the plan's clock runs within a few days of 2026
	}
	return e
}

// content gives the numbers that the content of an upsert is made of. They depend on its key and version and on nothing
// else, so that one ID never has two contents.
func (p Plan) content(f fact) *rand.Rand {
	h := p.roll(saltContent, f.key<<1|f.topic)
	return rand.New(rand.NewPCG(h, uint64(f.micros))) //nolint:gosec // it must repeat itself
}

// forecastOf is one value of a forecast entry. Of a deleted one nothing is left but its key.
func forecastOf(f fact, version time.Time, r *rand.Rand, job string) *forecast.Forecast {
	k := f.key
	take := func(n int) int { digit := k % n; k /= n; return digit }
	kind, field, period, week := take(len(kinds)), take(len(fields)), take(4), take(13)
	user := k
	start := time.Date(2026, time.Month(1+3*period), 1, 0, 0, 0, 0, time.UTC)
	frame := start.AddDate(0, 0, 7*week)
	e := &forecast.Forecast{
		ForecastID: "net_new_acv", TimePeriodID: fmt.Sprintf("2026_Q%d", period+1), TimeFrameID: "TF:" + frame.Format(time.DateOnly),
		UserID: fmt.Sprintf("%d:00E4M%010dUAS", 280627+user, user), FieldID: fields[field], Kind: kinds[kind], JobID: job,
	}
	if f.mended {
		e.CurrencyCode = new("USD")
	}
	if f.op == event.Delete {
		return e
	}
	if !f.mended {
		e.CurrencyCode = sometimes(r, currencies[r.IntN(len(currencies))])
	}
	e.Value = amount(r)
	e.CurrencySymbol = sometimes(r, "€")
	e.IsUpdated = r.IntN(2) == 0
	e.UpdatedBy = sometimes(r, fmt.Sprintf("%d", r.IntN(1000)))
	e.UpdatedOn = sometimes(r, version.Truncate(time.Millisecond))
	e.UserEmail = sometimes(r, fmt.Sprintf("rep%d@example.com", user))
	e.UserName = sometimes(r, text(r))
	e.ScopeID = sometimes(r, `{"id":1905,"type":"MGR"}`)
	e.HierarchyID = new(fmt.Sprintf("h%d", user))
	e.HierarchyName = sometimes(r, text(r))
	e.ParentHierarchyName = sometimes(r, "São Paulo\t\"East\"")
	e.FieldName = new("Net commit")
	e.FieldType = new("NUMERIC")
	e.TimePeriodType, e.TimePeriodLabel, e.TimePeriodYear = new("QUARTER"), new(fmt.Sprintf("Q%d", period+1)), new(int32(2026))
	e.TimePeriodStart, e.TimePeriodEnd = new(start), new(start.AddDate(0, 3, -1))
	e.TimeFrameStart, e.TimeFrameEnd = new(frame), new(frame.AddDate(0, 0, 6))
	return e
}

// personOf is a person. Of a deleted one nothing is left but its key and when that was.
func personOf(f fact, version time.Time, r *rand.Rand) *people.Person {
	e := &people.Person{
		PersonID: int64(f.key) + 1, UpdatedAt: &version,
		CadenceIDs: []int64{}, Tags: []string{}, ContactRestrictions: []string{}, CustomFields: map[string]string{}, Extra: map[string]string{},
	}
	if f.op == event.Delete {
		return e
	}
	e.CreatedAt = new(time.UnixMicro(epochMicros - int64(f.key)*1_000_003).UTC())
	if !f.mended {
		e.LastContactedAt = sometimes(r, version.Add(-time.Hour))
	}
	e.FirstName = sometimes(r, text(r))
	e.LastName = sometimes(r, text(r))
	e.DisplayName = sometimes(r, text(r)+" "+text(r))
	e.EmailAddress = sometimes(r, fmt.Sprintf("p%d.%d@example.com", f.key, r.IntN(1_000_000)))
	e.Phone = sometimes(r, fmt.Sprintf("+49 (30) %d ext. 7", r.IntN(1_000_000)))
	e.Title = sometimes(r, text(r))
	e.City, e.Country = sometimes(r, "İstanbul"), sometimes(r, "TR")
	e.PersonCompanyName = sometimes(r, text(r))
	e.DoNotContact, e.Bouncing = sometimes(r, r.IntN(2) == 0), sometimes(r, false)
	e.LocaleUTCOffset = sometimes(r, int64(-120))
	e.EmailsSent, e.Calls = sometimes(r, r.Int64N(1000)), sometimes(r, r.Int64N(1000))
	e.AccountID = sometimes(r, r.Int64N(1<<53))
	for range r.IntN(3) {
		e.Tags = append(e.Tags, text(r))
		e.CadenceIDs = append(e.CadenceIDs, r.Int64N(1000))
	}
	if r.IntN(2) == 0 {
		e.CustomFields["Zone \"A\""] = text(r)
		e.Extra["unheard_of"] = `{"a":[1,null,"\t"]}`
	}
	return e
}

// amount is money as sources send it: mostly cents, some with more digits than a float holds, some negative, some absent.
func amount(r *rand.Rand) *money.Amount {
	var digits string
	switch shape := r.IntN(20); {
	case shape < 2:
		return nil
	case shape < 12:
		digits = fmt.Sprintf("%d.%02d", r.IntN(2_000_000), r.IntN(100))
	case shape < 14:
		digits = fmt.Sprintf("-%d.%02d", r.IntN(2_000_000), r.IntN(100))
	case shape < 16:
		digits = fmt.Sprintf("%d", r.IntN(2_000_000))
	case shape < 18:
		digits = fmt.Sprintf("%d.%018d", r.IntN(1_000_000_000), r.Int64N(1_000_000_000_000_000_000))
	case shape < 19:
		digits = fmt.Sprintf("0.%d", 1+r.IntN(9))
	default:
		digits = fmt.Sprintf("9999999999%010d.999999999999999999", r.Int64N(10_000_000_000))
	}
	a, err := money.Parse(digits)
	if err != nil {
		panic(err) // no shape has more than 38 digits
	}
	return &a
}

func text(r *rand.Rand) string {
	return fmt.Sprintf("%s %d", texts[r.IntN(len(texts))], r.IntN(1_000_000))
}

// sometimes is null one time in four.
func sometimes[T any](r *rand.Rand, v T) *T {
	if r.IntN(4) == 0 {
		return nil
	}
	return &v
}
