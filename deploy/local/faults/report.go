package faults

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/revstream/revstream/deploy/local/faults/nemesis"
)

// MemoryBound is what a consumer's resident set may come to, in MiB.
const MemoryBound = 256

// DrainBound is how long after the last fault everything may take to be stored, in seconds.
const DrainBound = 60

// Report is what a run has shown. Lost, Doubled, Stale, LettersWrong and Ahead
// must be 0.
type Report struct {
	Seed     uint64         `json:"seed"`
	Protocol string         `json:"group_protocol"`
	Mutant   string         `json:"mutant,omitempty"`
	Events   int            `json:"events"`          // of the plan: duplicates and poison among them
	Records  int64          `json:"records"`         // on the topics in the end: a killed producer publishes some again
	Kills    int            `json:"kills"`           // processes that were ended with SIGKILL
	Faults   map[string]int `json:"faults"`          // that came about, by kind
	Refused  int64          `json:"inserts_refused"` // by ClickHouse, or whose answer got lost

	Lost         int `json:"lost"`        // valid events that the history or the current view lacks
	Doubled      int `json:"doubled"`     // events that stand more than once
	Stale        int `json:"stale"`       // keys that show another version than their newest
	LettersWrong int `json:"dlq_wrong"`   // dead letters that are missing, altered, of no poison, or open after their repair
	Ahead        int `json:"ahead"`       // records before a committed offset that were neither stored nor dead-lettered
	Foreign      int `json:"foreign"`     // rows that no valid event accounts for
	Letters      int `json:"dlq_letters"` // of poison records, each once
	Crashes      int `json:"crashes"`     // ends of a process that nobody asked for

	MaxRSS   float64 `json:"max_rss_mb"` // of a consumer, in MiB
	Drained  float64 `json:"drained_s"`  // from the last fault until nothing was left to commit
	Duration float64 `json:"duration_s"`
	Samples  int     `json:"samples"` // of the committed offsets

	Examples []string `json:"examples,omitempty"` // of what is wrong
}

// Wrong says what a report complains of; nothing if all is well.
func (r Report) Wrong() []string {
	var wrong []string
	for _, c := range []struct {
		name  string
		count int
	}{
		{"lost", r.Lost}, {"doubled", r.Doubled}, {"stale", r.Stale}, {"dead letters wrong", r.LettersWrong},
		{"committed ahead of storage", r.Ahead}, {"foreign rows", r.Foreign}, {"crashes", r.Crashes},
	} {
		if c.count != 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %d", c.name, c.count))
		}
	}
	if r.Samples == 0 {
		wrong = append(wrong, "the committed offsets were never sampled")
	}
	if r.MaxRSS > MemoryBound {
		wrong = append(wrong, fmt.Sprintf("memory: %.0f MiB, over %d", r.MaxRSS, MemoryBound))
	}
	if r.Drained > DrainBound {
		wrong = append(wrong, fmt.Sprintf("drained in %.0f s, over %d", r.Drained, DrainBound))
	}
	return wrong
}

// Count returns a count by its name in the JSON report.
func (r Report) Count(name string) int {
	return map[string]int{"lost": r.Lost, "doubled": r.Doubled, "stale": r.Stale, "dlq_wrong": r.LettersWrong}[name]
}

// Print writes the report for people.
func (r Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nfault\ttimes\n")
	for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(w, "%s\t%d\n", kind, r.Faults[kind])
	}
	fmt.Fprintf(w, "\ninvariant\tfound\tbound\n")
	for _, row := range []struct {
		name         string
		found, bound any
	}{
		{"valid events lost", r.Lost, 0},
		{"events doubled", r.Doubled, 0},
		{"keys that show a stale version", r.Stale, 0},
		{"dead letters wrong, of " + strconv.Itoa(r.Letters), r.LettersWrong, 0},
		{"rows that no event accounts for", r.Foreign, 0},
		{"records committed before they were stored", r.Ahead, 0},
		{"processes that ended by themselves", r.Crashes, 0},
		{"memory of a consumer, MiB", int(r.MaxRSS), MemoryBound},
		{"drained after the last fault, s", int(r.Drained), DrainBound},
	} {
		fmt.Fprintf(w, "%s\t%v\t%v\n", row.name, row.found, row.bound)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	for _, example := range r.Examples {
		fmt.Fprintln(out, "  "+example)
	}
	fmt.Fprintf(out, "\n%d events (%d records on the topics), %d kills, %d inserts refused, offsets sampled %d times, %s in all, group protocol %s\n",
		r.Events, r.Records, r.Kills, r.Refused, r.Samples, (time.Duration(r.Duration) * time.Second).String(), r.Protocol)
	return nil
}

// Write writes the report as JSON.
func (r Report) Write(path string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(raw, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func byName(counts map[nemesis.Kind]int) map[string]int {
	named := make(map[string]int, len(counts))
	for kind, n := range counts {
		named[string(kind)] = n
	}
	return named
}
