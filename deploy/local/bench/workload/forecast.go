package workload

import (
	"fmt"
	"strconv"
	"time"

	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
)

// Shape of a Clari export: so many fields and weeks of each user, two quarters.
const (
	fields    = 10
	weeks     = 28
	perUser   = fields * weeks
	teams     = 500
	divisions = 50
)

// What many forecasts have in common.
var (
	weekIDs, weekStarts, weekEnds = calendar()

	quarterIDs    = []string{"2025_Q4", "2026_Q1"}
	quarterLabels = pointers("Q4", "Q1")
	quarterYears  = []*int32{new(int32(2025)), new(int32(2026))}
	quarterStarts = []*time.Time{day(2025, 10, 1), day(2026, 1, 1)}
	quarterEnds   = []*time.Time{day(2025, 12, 31), day(2026, 3, 31)}
	quarterCRMs   = pointers("0264M000000GaKsQAK", "0264M000000GaKtQAK")

	fieldIDs    = []string{"fc_net_commit", "fc_best_case", "fc_pipeline", "fc_upside", "fc_renewal", "fc_churn", "fc_services", "fc_expansion", "fc_new_logo", "fc_quota"}
	fieldNames  = pointers("Net Commit", "Best Case", "Pipeline", "Upside", "Renewal", "Churn", "Services", "Expansion", "New Logo", "Quota")
	fieldTypes  = pointers("NUMERIC", "CURRENCY")
	currencies  = pointers("USD", "EUR", "GBP")
	symbols     = pointers("$", "€", "£")
	periodTypes = pointers("QUARTER")
	teamIDs     = numbered(teams, "h%d")
	teamNames   = numbered(teams, "Sales Rep - Team %d")
	divisionIDs = numbered(divisions, "h1%d")
	divisionOf  = numbered(divisions, "Director - Division %d")
	editors     = numbered(100, "2806%02d")
)

func day(year int, month time.Month, d int) *time.Time {
	return new(time.Date(year, month, d, 0, 0, 0, 0, time.UTC))
}

func calendar() (ids []string, starts, ends []*time.Time) {
	first := time.Date(2025, 9, 29, 0, 0, 0, 0, time.UTC)
	for i := range weeks {
		start := first.AddDate(0, 0, 7*i)
		ids = append(ids, "TF:"+start.Format(time.DateOnly))
		starts, ends = append(starts, &start), append(ends, new(start.AddDate(0, 0, 6)))
	}
	return ids, starts, ends
}

// Forecast makes forecast event i, all columns filled, as of a version. The order is an export's: a user's weeks, a week's
// fields. No two numbers have one key.
func Forecast(i int, version time.Time) (*forecast.Forecast, error) {
	user, field, week := i/perUser, i%fields, i/fields%weeks
	quarter, team, h := week*len(quarterIDs)/weeks, user%teams, noise(i, 1)
	amount, err := money.Parse(strconv.FormatUint(h>>44%2_000_000, 10) + "." + strconv.FormatUint(10+h>>20%90, 10))
	if err != nil {
		return nil, fmt.Errorf("making forecast %d: %w", i, err)
	}
	kind := forecast.KindForecast
	if field == fields-1 {
		kind = forecast.KindQuota
	}
	updated := version.Truncate(time.Millisecond)
	f := &forecast.Forecast{
		ForecastID: "net_new", TimePeriodID: quarterIDs[quarter], TimeFrameID: weekIDs[week],
		UserID: strconv.Itoa(280627+user) + ":00E4M000001RgqRUAS", FieldID: fieldIDs[field], Kind: kind,
		Value: &amount, CurrencyCode: pick(currencies, uint64(team)), CurrencySymbol: pick(symbols, uint64(team)),
		IsUpdated: h%4 == 0, UpdatedBy: pick(editors, h>>8), UpdatedOn: &updated,
		UserCRMID: new(fmt.Sprintf("0054M%010dQAA", user)), UserEmail: new("rep" + strconv.Itoa(user) + "@example.com"),
		UserName: new(name(user)), ScopeID: new(`{"id":"` + strconv.Itoa(1905+user) + `","type":"MGR"}`),
		HierarchyID: teamIDs[team], HierarchyName: teamNames[team],
		ParentHierarchyID: divisionIDs[team%divisions], ParentHierarchyName: divisionOf[team%divisions],
		FieldName: fieldNames[field], FieldType: fieldTypes[field%2],
		TimePeriodType: periodTypes[0], TimePeriodLabel: quarterLabels[quarter], TimePeriodYear: quarterYears[quarter],
		TimePeriodStart: quarterStarts[quarter], TimePeriodEnd: quarterEnds[quarter], TimePeriodCRMID: quarterCRMs[quarter],
		TimeFrameStart: weekStarts[week], TimeFrameEnd: weekEnds[week], JobID: "64d3f0a7c1e2b90012ab" + strconv.Itoa(1000+i/250_000),
	}
	return f, seal(f, version)
}

var (
	firstNames = []string{"José", "Zoë", "Anna", "李娜", "Øyvind", "Siobhán", "Юлия", "Nguyễn", "Wei", "Chloe", "Ravi", "Łukasz", "Deborah", "Maximilian"}
	lastNames  = []string{"García", "O'Brien", "Müller", "Smith", "Åkesson", "Иванова", "van den Berg", "Nakamura", "Schmidt", "Montgomery", "N'Diaye"}
)

func name(i int) string { return pick(firstNames, noise(i, 2)) + " " + pick(lastNames, noise(i, 3)) }
