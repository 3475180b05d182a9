package reconcile

import (
	"cmp"
	"slices"
	"time"
)

// results are those of the keys, and of each run.
func (c *check) results(now time.Time) []Result {
	keys := c.result(c.counts[keysGroup])
	keys.Subject, keys.Unidentified, keys.Gap = SubjectKeys, c.unidentified, keys.Missing
	results := append(make([]Result, 0, 1+len(c.runs)), keys)
	published := make([]int64, c.groups.n)
	for i, r := range c.runs {
		published[c.groups.byRun[i]] += r.published
	}
	seen := make([]bool, c.groups.n)
	for i, r := range c.runs {
		g := c.groups.byRun[i]
		counts := c.counts[g]
		if seen[g] {
			counts = countsOf{}
		}
		res := c.result(counts)
		res.Subject, res.RunID, res.CorrelationID, res.Scope, res.TimePeriodID = SubjectRun, r.id, r.correlation, r.scope, r.period
		res.Outcome, res.CompletedAt = r.outcome, &r.completed
		res.RowsExpected, res.RowsPublished, res.RowsUnchanged, res.RowsRejected = r.expected, r.published, r.unchanged, r.rejected
		res.RowsUnaccounted = r.unaccounted()
		res.CountedElsewhere = seen[g] || c.scoped && r.scope == scopeBackfill
		if !seen[g] {
			absent := max(0, published[g]-counts.onTopic-counts.compacted)
			if now.Sub(r.completed) < c.topic.Retention {
				res.Lost = absent
			} else {
				res.Untold = absent
			}
		}
		res.Gap = res.Missing + res.Lost
		if r.balanced() {
			res.Gap += max(res.RowsUnaccounted, -res.RowsUnaccounted)
		}
		seen[g] = true
		results = append(results, res)
	}
	return results
}

func (c *check) result(n countsOf) Result {
	return Result{
		Source: c.source, Entity: c.name, OnTopic: n.onTopic, Compacted: n.compacted, Stored: n.stored, Pending: n.pending, DeadLettered: n.deadLettered,
		Erased: n.erased, Expired: n.expired, Missing: n.missing, Stale: n.stale, Discarded: n.discarded,
	}
}

// missing lists what is missing, in the order of the topic.
func (c *check) missing(most int, keys bool) []Missing {
	var all []Missing
	for _, found := range c.candidates {
		if found.state != isMissing && found.state != isDiscarded {
			continue
		}
		slices.Sort(found.groups)
		for _, g := range slices.Compact(found.groups) {
			if g == keysGroup && !keys || found.state == isMissing && c.expired(found, g) {
				continue
			}
			m := Missing{
				Source: c.source, Entity: c.name, What: NotInHistory, Key: found.key, EventID: found.id,
				Topic: c.topic.Name, Partition: found.partition, Offset: found.offset,
			}
			switch {
			case found.state == isDiscarded:
				m.What = Discarded
			case g == keysGroup && found.stale:
				m.What = Stale
			case g == keysGroup:
				m.What = NotCurrent
			}
			if g != keysGroup {
				m.RunID = c.runs[slices.Index(c.groups.byRun, g)].id
			}
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b Missing) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.RunID, b.RunID))
	})
	return all[:min(len(all), most)]
}
