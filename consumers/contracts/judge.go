package contracts

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/revstream/revstream/schemas/contract"
)

// judge holds what was found to one contract, rule by rule.
type judge struct {
	contract contract.Contract
	live     map[string]string // the relation's columns with their types; nil where it does not exist
	results  []Result
}

// say adds what is to be said of a rule.
func (j *judge) say(rule string, violations uint64, measured *float64, expected, found string) {
	j.results = append(j.results, Result{
		Contract: j.contract.Name, Relation: j.contract.Relation, Rule: rule,
		OK: violations == 0, Violations: violations, Measured: measured, Found: found, Expected: expected,
	})
}

// list says of a rule what breaks it, one by one.
func (j *judge) list(rule string, violations uint64, expected string, broken []string, otherwise string) {
	found := otherwise
	if len(broken) > 0 {
		found = strings.Join(broken, "; ")
	}
	j.say(rule, violations, nil, expected, found)
}

func (j *judge) exists() bool {
	expected := "a view " + j.contract.Relation
	if j.live == nil {
		j.say("relation", 1, nil, expected, "there is none")
		return false
	}
	j.say("relation", 0, nil, expected, "it is there")
	return true
}

func (j *judge) columns() {
	var broken []string
	for _, col := range j.contract.Columns {
		live, ok := j.live[col.Name]
		is, nullable := unwrap(live)
		switch {
		case !ok:
			broken = append(broken, col.Name+" is missing")
		case is != col.Type:
			broken = append(broken, fmt.Sprintf("%s is %s, not %s", col.Name, is, col.Type))
		case nullable && !col.Nullable:
			broken = append(broken, col.Name+" is nullable")
		}
	}
	all := fmt.Sprintf("%d columns of the promised types", len(j.contract.Columns))
	j.list("columns", uint64(len(broken)), all, broken, "all are there")
}

// unnamed finds columns that no contract of the relation has.
func (j *judge) unnamed(contracts []contract.Contract) {
	var unnamed []string
	for _, name := range slices.Sorted(maps.Keys(j.live)) {
		named := slices.ContainsFunc(contracts, func(c contract.Contract) bool {
			_, ok := c.Column(name)
			return ok && c.Relation == j.contract.Relation
		})
		if !named {
			unnamed = append(unnamed, name)
		}
	}
	j.list("unnamed_columns", uint64(len(unnamed)), "no column that no contract names", unnamed, "there is none")
}

func (j *judge) primaryKey(c counted) {
	key := "(" + strings.Join(j.contract.PrimaryKey, ", ") + ")"
	expected := "one row for each " + key
	switch {
	case slices.ContainsFunc(j.contract.PrimaryKey, func(name string) bool { return j.live[name] == "" }):
		j.say("primary_key", 0, nil, expected, "not judged: a column of it is missing")
	case c.rows > c.keys:
		j.say("primary_key", c.rows-c.keys, nil, expected, fmt.Sprintf("%d rows repeat the key of another", c.rows-c.keys))
	default:
		j.say("primary_key", 0, nil, expected, fmt.Sprintf("%d rows and keys", c.rows))
	}
}

func (j *judge) notNull(c counted) {
	promised := slices.DeleteFunc(slices.Clone(j.contract.Columns), func(col contract.Column) bool { return col.Nullable && !col.NotNull })
	j.tally("not_null", c.nulls, "%s is NULL in %d rows", fmt.Sprintf("no NULL in %d columns", len(promised)), "there is none")
}

func (j *judge) allowed(c counted) {
	var closed []string
	for _, col := range j.contract.Columns {
		if len(col.Allowed) > 0 {
			closed = append(closed, col.Name+" in "+strings.Join(col.Allowed, ", "))
		}
	}
	if len(closed) > 0 {
		j.tally("allowed", c.others, "%s has another value in %d rows", strings.Join(closed, "; "), "no other value")
	}
}

// tally says of a rule in which columns how many rows break it.
func (j *judge) tally(rule string, rows map[string]uint64, format, expected, otherwise string) {
	var broken []string
	var sum uint64
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		if n := rows[name]; n > 0 {
			broken, sum = append(broken, fmt.Sprintf(format, name, n)), sum+n
		}
	}
	j.list(rule, sum, expected, broken, otherwise)
}

func (j *judge) freshness(c counted) {
	if j.contract.SLA.FreshnessP95Minutes == 0 {
		return
	}
	bound := time.Duration(j.contract.SLA.FreshnessP95Minutes) * time.Minute
	expected := fmt.Sprintf("95 of 100 rows within %s of being read at the source", short(bound))
	if c.arrived == 0 {
		j.say("freshness_p95", 0, nil, expected, "not judged: nothing came in the last 24 hours")
		return
	}
	j.say("freshness_p95", exceeds(c.p95, bound), &c.p95, expected,
		fmt.Sprintf("95 of 100 within %s, of %d rows of the last 24 hours", short(seconds(c.p95)), c.arrived))
}

func (j *judge) maxAge(c counted) {
	if j.contract.SLA.MaxAgeMinutes == 0 {
		return
	}
	bound := time.Duration(j.contract.SLA.MaxAgeMinutes) * time.Minute
	expected := "a row in the last " + short(bound)
	if c.rows == 0 {
		j.say("max_age", 1, nil, expected, "there is no row")
		return
	}
	j.say("max_age", exceeds(c.age, bound), &c.age, expected, "the newest came "+short(seconds(c.age))+" ago")
}

func (j *judge) rows(c counted) {
	low, high := j.contract.Rows.Min, j.contract.Rows.Max
	expected := "any number of rows"
	switch {
	case low != nil && high != nil:
		expected = fmt.Sprintf("%d to %d rows", *low, *high)
	case low != nil:
		expected = fmt.Sprintf("%d rows or more", *low)
	case high != nil:
		expected = fmt.Sprintf("%d rows or fewer", *high)
	}
	var violations uint64
	if low != nil && c.rows < *low || high != nil && c.rows > *high {
		violations = 1
	}
	n := float64(c.rows)
	j.say("rows", violations, &n, expected, fmt.Sprintf("%d rows", c.rows))
}

func exceeds(measured float64, bound time.Duration) uint64 {
	if seconds(measured) > bound {
		return 1
	}
	return 0
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// short is a duration as people say it.
func short(d time.Duration) string {
	if d >= time.Minute {
		d = d.Round(time.Second)
	}
	text := d.Round(time.Millisecond).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
