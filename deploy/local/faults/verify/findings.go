// Package verify holds what the clients of others read of Kafka and of ClickHouse against the model of a plan: kcat and
// plain HTTP, so that a mistake that our clients share cannot hide itself.
package verify

import "fmt"

// maxExamples bounds what a finding shows of itself.
const maxExamples = 10

// Finding counts what is wrong in one way.
type Finding struct {
	Count    int      `json:"count"`
	Examples []string `json:"examples,omitempty"` // the first ones; keys and IDs are generated, and personal to nobody
}

func (f *Finding) add(format string, args ...any) {
	if f.Count++; len(f.Examples) < maxExamples {
		f.Examples = append(f.Examples, fmt.Sprintf(format, args...))
	}
}

// Rows is what Warehouse finds.
type Rows struct {
	Lost    Finding `json:"lost"`    // events that the history does not have
	Doubled Finding `json:"doubled"` // events or keys that are seen more than once
	Stale   Finding `json:"stale"`   // keys that do not show their newest version, whole, or show though it is a delete
	Foreign Finding `json:"foreign"` // events and keys that no valid record accounts for

	History int `json:"history"` // rows read
	Visible int `json:"visible"` // keys that were to be seen
}

// Wrong is the number of all that is wrong.
func (r Rows) Wrong() int { return r.Lost.Count + r.Doubled.Count + r.Stale.Count + r.Foreign.Count }

// Mail is what Letters finds.
type Mail struct {
	Missing     Finding `json:"missing"`     // poison records that have no letter
	Altered     Finding `json:"altered"`     // letters that do not hold their original, or do not say where it is
	Foreign     Finding `json:"foreign"`     // letters of records that are no poison
	Unpublished Finding `json:"unpublished"` // poison of the plan that is not on its topic: the load's fault
	Open        Finding `json:"open"`        // letters that a replay of what is repaired has left

	Poison  int `json:"poison"`  // records of the topics that are poison
	Letters int `json:"letters"` // of them, each once
	Copies  int `json:"copies"`  // letters beyond the first of their original: a crash between write and commit, no fault
}

// Wrong is the number of all that is wrong.
func (m Mail) Wrong() int {
	return m.Missing.Count + m.Altered.Count + m.Foreign.Count + m.Unpublished.Count + m.Open.Count
}
