package contracts

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/revstream/revstream/schemas/contract"
)

// counted is what one read of a relation tells.
type counted struct {
	rows, keys uint64
	nulls      map[string]uint64 // rows by column, of those that promise to have none
	others     map[string]uint64 // rows with a value that is not allowed, by column
	arrived    uint64            // rows that came in the last 24 hours
	p95        float64           // seconds from observed to ingested, of those
	age        float64           // seconds since the newest row came; of no meaning without rows
}

// hasNoNulls tells whether a column has to be looked at for NULL.
func hasNoNulls(col contract.Column, live map[string]string) bool {
	_, nullable := unwrap(live[col.Name])
	return nullable && (!col.Nullable || col.NotNull)
}

// count reads a relation once, for all the rules that need its rows. What columns it does not have is left out: another rule says so.
func (c *Checker) count(ctx context.Context, promised contract.Contract, live map[string]string) (counted, error) {
	out := counted{nulls: map[string]uint64{}, others: map[string]uint64{}}
	var nullable, closed []string
	nulls, others := []string{}, []string{}
	for _, col := range promised.Columns {
		if live[col.Name] == "" {
			continue
		}
		if hasNoNulls(col, live) {
			nullable, nulls = append(nullable, col.Name), append(nulls, "countIf("+quoted(col.Name)+" IS NULL)")
		}
		if len(col.Allowed) > 0 {
			closed, others = append(closed, col.Name), append(others, fmt.Sprintf("countIf(toString(%s) NOT IN (%s))", quoted(col.Name), literals(col.Allowed)))
		}
	}
	keys, arrived, p95, age := "0", "0", "0", "0"
	if !slices.ContainsFunc(promised.PrimaryKey, func(name string) bool { return live[name] == "" }) {
		// The tuple keeps a key whose one part is NULL, and a hash of it takes eight bytes, however long the keys are.
		keys = "uniqExact(cityHash64(tuple(" + quoted(promised.PrimaryKey...) + ")))"
	}
	if promised.SLA.MaxAgeMinutes > 0 && live["ingested_at"] != "" {
		age = "ifNull(dateDiff('millisecond', max(ingested_at), now64(3)) / 1000, 0)"
	}
	if promised.SLA.FreshnessP95Minutes > 0 && live["ingested_at"] != "" && live["observed_at"] != "" {
		const today = "ingested_at > now64(3) - INTERVAL 1 DAY"
		arrived = "countIf(" + today + ")"
		p95 = "ifNull(quantileTDigestIf(0.95)(dateDiff('millisecond', observed_at, ingested_at) / 1000, " + today + "), 0)"
	}
	query := fmt.Sprintf("SELECT count(), toUInt64(%s), CAST([%s], 'Array(UInt64)'), CAST([%s], 'Array(UInt64)'), toUInt64(%s), toFloat64(%s), toFloat64(%s) FROM %s",
		keys, strings.Join(nulls, ", "), strings.Join(others, ", "), arrived, p95, age, quoted(promised.Relation))
	var ofNulls, ofOthers []uint64
	if err := c.conn.QueryRow(ctx, query).Scan(&out.rows, &out.keys, &ofNulls, &ofOthers, &out.arrived, &out.p95, &out.age); err != nil {
		return out, fmt.Errorf("reading %s: %w", promised.Relation, err)
	}
	for i, name := range nullable {
		out.nulls[name] = ofNulls[i]
	}
	for i, name := range closed {
		out.others[name] = ofOthers[i]
	}
	return out, nil
}

// quoted are names in SQL: one may be a word of the language.
func quoted(names ...string) string { return "`" + strings.Join(names, "`, `") + "`" }

// literals are texts in SQL.
func literals(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
	}
	return strings.Join(quoted, ", ")
}

// unwrap takes LowCardinality, which readers do not see, and Nullable off a type.
func unwrap(live string) (name string, nullable bool) {
	for {
		inner, low := strings.CutPrefix(live, "LowCardinality(")
		if !low {
			if inner, nullable = strings.CutPrefix(live, "Nullable("); !nullable {
				return live, false
			}
			return strings.TrimSuffix(inner, ")"), true
		}
		live = strings.TrimSuffix(inner, ")")
	}
}
