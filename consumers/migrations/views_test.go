package migrations_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas/event"
)

// version of a forecast value: what the model knows of it. Times are minutes.
type version struct {
	user, amount, currency string // "NULL" for none
	source, ingested       int
	deleted                bool
	id                     uuid.UUID
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func clock(minutes int) string {
	return epoch.Add(time.Duration(minutes) * time.Minute).Format("2006-01-02 15:04:05")
}

// randomVersions has late ones, deletes, and both at one moment.
func randomVersions(t *testing.T, random *rand.Rand) []version {
	t.Helper()
	known := map[uuid.UUID]bool{}
	var versions []version
	for range 400 {
		v := version{
			user: "u" + strconv.Itoa(random.IntN(40)), source: random.IntN(12), deleted: random.IntN(6) == 0,
			amount: []string{"NULL", "0", "10", "10", "25.5", "-3"}[random.IntN(6)], currency: []string{"NULL", "'USD'", "'USD'", "'USD'", "'EUR'"}[random.IntN(5)],
		}
		v.ingested = v.source + random.IntN(6)
		op := event.Upsert
		if v.deleted {
			op = event.Delete
		}
		var err error
		v.id, err = event.NewID("forecast", v.user, epoch.Add(time.Duration(v.source)*time.Minute), op)
		require.NoError(t, err)
		if !known[v.id] { // one fact has one content
			known[v.id] = true
			versions = append(versions, v)
		}
	}
	return versions
}

func insertVersions(t *testing.T, url string, versions []version) {
	t.Helper()
	rows := make([]string, len(versions))
	for i, v := range versions {
		deleted := 0
		if v.deleted {
			deleted = 1
		}
		rows[i] = fmt.Sprintf("('net', '2026_Q1', 'W1', '%s', 'commit', 'forecast', %s, %s, '%s', '%s', '%s', %d, '%s')",
			v.user, v.amount, v.currency, v.id, clock(v.source), clock(v.source), deleted, clock(v.ingested))
	}
	for _, table := range []string{"forecast_current", "forecast_history"} {
		pipelinetest.SQL(t, url, "INSERT INTO "+table+" (forecast_id, time_period_id, time_frame_id, user_id, field_id, kind, value, currency_code, event_id, source_version, observed_at, is_deleted, ingested_at) VALUES "+strings.Join(rows, ", "))
	}
}

// newest is the naive model of a current view: user and amount of what counts of the versions that a condition admits.
func newest(versions []version, admitted func(version) bool) string {
	last := map[string]version{}
	for _, v := range versions {
		if old, seen := last[v.user]; admitted(v) && (!seen || slices.Compare(old.id[:], v.id[:]) < 0) {
			last[v.user] = v
		}
	}
	var lines []string
	for _, v := range last {
		if !v.deleted {
			lines = append(lines, v.user+"\t"+strings.ReplaceAll(v.amount, "NULL", `\N`))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// changes is the naive model of forecast_changes.
func changes(versions []version) string {
	byUser := map[string][]version{}
	for _, v := range versions {
		if v.deleted {
			v.amount = "NULL"
		}
		byUser[v.user] = append(byUser[v.user], v)
	}
	var lines []string
	for user, of := range byUser {
		slices.SortFunc(of, func(a, b version) int { return slices.Compare(a.id[:], b.id[:]) })
		before := version{amount: "NULL", currency: "NULL"}
		for i, v := range of {
			if v.amount != before.amount || v.amount != "NULL" && v.currency != before.currency {
				delta := `\N`
				if a, err := strconv.ParseFloat(v.amount, 64); err == nil && v.currency == before.currency {
					if b, err := strconv.ParseFloat(before.amount, 64); err == nil {
						delta = strconv.FormatFloat(a-b, 'f', -1, 64)
					}
				}
				previous := `\N`
				if i > 0 {
					previous = before.id.String()
				}
				lines = append(lines, strings.Join([]string{user, v.id.String(), previous, strings.ReplaceAll(before.amount, "NULL", `\N`), strings.ReplaceAll(v.amount, "NULL", `\N`), delta}, "\t"))
			}
			before = v
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestViewsAgreeWithANaiveModel: whatever the order in which versions arrive, and however often.
func TestViewsAgreeWithANaiveModel(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	versions := randomVersions(t, random)
	for rest := versions; len(rest) > 0; {
		n := min(len(rest), 1+random.IntN(120))
		insertVersions(t, url, rest[:n])
		rest = rest[n:]
	}
	insertVersions(t, url, versions[:50]) // again, as after a crash

	rows := func(sql string) string {
		lines := strings.Split(pipelinetest.SQL(t, url, sql), "\n")
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	require.Equal(t, newest(versions, func(version) bool { return true }), rows("SELECT user_id, value FROM forecast"))
	for at := range 20 {
		want := newest(versions, func(v version) bool { return v.source <= at && v.ingested <= at })
		require.Equal(t, want, rows("SELECT user_id, value FROM forecast_as_of(ts = '"+clock(at)+"')"), "at minute %d", at)
	}
	require.Equal(t, changes(versions), rows("SELECT user_id, event_id, previous_event_id, value_before, value_after, delta FROM forecast_changes"))
	user := versions[0].user
	var own []version
	for _, v := range versions {
		if v.user == user {
			own = append(own, v)
		}
	}
	require.Equal(t, changes(own), rows("SELECT user_id, event_id, previous_event_id, value_before, value_after, delta FROM forecast_changes WHERE user_id = '"+user+"'"),
		"a filter on the key sees the versions before")
}

var granules = regexp.MustCompile(`(?m)Granules: (\d+)/(\d+)`)

// TestPointQueriesReadFewGranules: filters on the key reach the primary index through the views.
func TestPointQueriesReadFewGranules(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	for _, table := range []string{"forecast_current", "forecast_history"} {
		pipelinetest.SQL(t, url, "INSERT INTO "+table+" (forecast_id, time_period_id, time_frame_id, user_id, field_id, kind, event_id, source_version) "+
			"SELECT 'net', '2026_Q1', 'W1', concat('u', toString(number)), 'commit', 'forecast', generateUUIDv4(), '2026-01-01' FROM numbers(100000)")
	}
	for _, table := range []string{"people_current", "people_history"} {
		pipelinetest.SQL(t, url, "INSERT INTO "+table+" (person_id, event_id, source_version) SELECT number, generateUUIDv4(), '2026-01-01' FROM numbers(100000)")
	}
	const forecastKey = " WHERE forecast_id = 'net' AND time_period_id = '2026_Q1' AND time_frame_id = 'W1' AND user_id = 'u777' AND field_id = 'commit' AND kind = 'forecast'"
	for source, where := range map[string]string{
		"forecast": forecastKey, "forecast_full": forecastKey, "forecast_changes": forecastKey, "forecast_as_of(ts = '2026-02-01')": forecastKey,
		"people": " WHERE person_id = 777", "people_full": " WHERE person_id = 777", "people_as_of(ts = '2026-02-01')": " WHERE person_id = 777",
	} {
		plan := pipelinetest.SQL(t, url, "EXPLAIN indexes = 1 SELECT * FROM "+source+where)
		read := granules.FindAllStringSubmatch(plan, -1)
		require.NotEmpty(t, read, source)
		most := slices.MaxFunc(read, func(a, b []string) int { return cmp.Compare(len(a[2]), len(b[2])) })
		total, err := strconv.Atoi(most[2])
		require.NoError(t, err)
		got, err := strconv.Atoi(most[1])
		require.NoError(t, err)
		require.Greater(t, total, 10, source)
		require.LessOrEqual(t, got, 2, "%s\n%s", source, plan)
	}
}

// TestConditionsOnValuesComeAfterTheNewestVersion: what is tried while rows are read is the key alone. A condition on anything else
// that was tried there would hide the newest version, and show the one before.
func TestConditionsOnValuesComeAfterTheNewestVersion(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	id := func(n int) string { return fmt.Sprintf("'00000000-0000-0000-0000-%012d'", n) }
	for version, amount := range []int{10, 20} {
		pipelinetest.SQL(t, url, fmt.Sprintf("INSERT INTO forecast_current (forecast_id, time_period_id, time_frame_id, user_id, field_id, kind, value, event_id, source_version) "+
			"SELECT 'net', '2026_Q1', 'W1', concat('u', toString(number)), 'commit', 'forecast', %d, %s, '2026-01-01' FROM numbers(20000)", amount, id(version)))
		pipelinetest.SQL(t, url, fmt.Sprintf("INSERT INTO people_current (person_id, calls, event_id, source_version) SELECT number, %d, %s, '2026-01-01' FROM numbers(20000)", amount, id(version)))
		pipelinetest.SQL(t, url, fmt.Sprintf("INSERT INTO export_runs_current (run_id, rows_expected, event_id, source_version) SELECT concat('clari:', toString(number)), %d, %s, '2026-01-01' FROM numbers(20000)", amount, id(version)))
	}
	for view, of := range map[string]struct{ key, value string }{
		"forecast": {"user_id = 'u7'", "value"}, "forecast_full": {"user_id = 'u7'", "value"},
		"people": {"person_id = 7", "calls"}, "people_full": {"person_id = 7", "calls"}, "export_runs": {"run_id = 'clari:7'", "rows_expected"},
	} {
		count := func(where string) string {
			return pipelinetest.SQL(t, url, "SELECT count() FROM "+view+" WHERE "+where)
		}
		require.Equal(t, "0", count(of.value+" = 10"), view)
		require.Equal(t, "20000", count(of.value+" = 20"), view)
		require.Equal(t, "0", count(of.key+" AND "+of.value+" = 10"), view)
		require.Equal(t, "1", count(of.key+" AND "+of.value+" = 20"), view)
		require.Equal(t, "1", count("("+of.key+" OR "+of.value+" = 10) AND "+of.value+" < 30"), view)
		plan := pipelinetest.SQL(t, url, "EXPLAIN actions = 1 SELECT * FROM "+view+" WHERE "+of.key+" AND "+of.value+" = 20")
		tried := regexp.MustCompile(`Prewhere filter column: (.*)`).FindStringSubmatch(plan)
		require.NotEmpty(t, tried, "%s does not try the key while it reads\n%s", view, plan)
		require.NotContains(t, tried[1], of.value, view)
	}
}

// TestTheKeyOfTheHashesShowsNowhere: not in a view's plan, which whoever may read the view may ask for.
func TestTheKeyOfTheHashesShowsNowhere(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	pipelinetest.SQL(t, url, "INSERT INTO people_current (person_id, email_address, event_id, source_version) VALUES (1, 'ada@example.com', generateUUIDv4(), '2026-01-01')")
	const hash = "SELECT email_hash FROM people"
	before := pipelinetest.SQL(t, url, hash)
	require.Len(t, before, 32)
	_, err = migrations.Up(t.Context(), url)
	require.NoError(t, err)
	require.Equal(t, before, pipelinetest.SQL(t, url, hash), "a second migration keeps the key")
	for half := range strings.FieldsSeq(pipelinetest.SQL(t, url, "SELECT half_1, half_2 FROM masking_key")) {
		for _, source := range []string{"people", "people_as_of(ts = '2099-01-01')"} {
			for _, ask := range []string{"EXPLAIN actions = 1, header = 1", "EXPLAIN QUERY TREE", "EXPLAIN SYNTAX", "EXPLAIN PIPELINE header = 1", "EXPLAIN PLAN json = 1, actions = 1"} {
				require.NotContains(t, pipelinetest.SQL(t, url, ask+" SELECT * FROM "+source+" WHERE email_hash != ''"), half, ask)
			}
		}
	}
	pipelinetest.SQL(t, url, "TRUNCATE TABLE masking_key")
	require.Empty(t, pipelinetest.SQL(t, url, "SELECT * FROM people"), "without a key nothing is hashed with zeros")
}

// TestFreshnessByTheClock: what depends on the time of asking.
func TestFreshnessByTheClock(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	pipelinetest.SQL(t, url, "INSERT INTO forecast_history (forecast_id, user_id, event_id, source_version, observed_at, ingested_at) "+
		"SELECT 'net', toString(number), generateUUIDv4(), now() - 500, now64(6) - if(number < 90, 2, 40), now64(6) FROM numbers(100) "+
		"UNION ALL SELECT 'net', 'old', generateUUIDv4(), now() - 500000, now64(6) - 400000, now64(6) - 200000")
	pipelinetest.SQL(t, url, "INSERT INTO export_runs_current (run_id, source, entity, scope, outcome, completed_at, event_id) VALUES ('a', 'clari', 'forecast', 'net', 'SUCCEEDED', now64(6) - 3600, generateUUIDv4()), "+
		"('b', 'clari', 'forecast', 'net', 'FAILED', now64(6) - 60, generateUUIDv4()), ('c', 'salesloft', 'people', 'reconciliation', 'SUCCEEDED', now64(6), generateUUIDv4())")
	require.Equal(t, "1\t1", pipelinetest.SQL(t, url, "SELECT age_seconds BETWEEN 3600 AND 3900, delay_p95_seconds BETWEEN 39.9 AND 40.1 FROM freshness WHERE entity = 'forecast'"))
	require.Equal(t, `\N	\N	\N`, pipelinetest.SQL(t, url, "SELECT last_success, age_seconds, delay_p95_seconds FROM freshness WHERE entity = 'people'"))
}
