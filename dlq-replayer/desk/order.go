package desk

import (
	"context"
	"encoding/json"
	"time"

	"github.com/revstream/revstream/pipeline/deadletter"
)

// Action is what is done with letters.
type Action string

// The actions. Repair replays what a change has mended.
const (
	Replay  Action = "replay"
	Repair  Action = "repair"
	Park    Action = "park"
	Unpark  Action = "unpark"
	Discard Action = "discard"
)

// Selection says which dead letters are meant: those that everything given matches. What is empty matches all. It is
// kept, as JSON, with the run that it was given to.
type Selection struct {
	IDs        []ID      `json:"ids,omitempty"`
	Topics     []string  `json:"topics,omitempty"` // originals or their dead-letter topics; empty: those of the catalogue that exist
	Partitions []int32   `json:"partitions,omitempty"`
	Offsets    *Offsets  `json:"offsets,omitempty"` // of the letters, in each partition
	Reasons    []string  `json:"reasons,omitempty"`
	Keys       []string  `json:"keys,omitempty"`
	EventIDs   []string  `json:"event_ids,omitempty"`
	Schemas    []int     `json:"schemas,omitempty"` // IDs in the registry
	Groups     []string  `json:"groups,omitempty"`  // consumer groups
	Replays    []string  `json:"replays,omitempty"` // IDs of runs that they have come back from
	Headers    []Header  `json:"headers,omitempty"`
	Since      time.Time `json:"since,omitzero"` // of the last failure, inclusive
	Until      time.Time `json:"until,omitzero"` // of the last failure, exclusive
	States     []string  `json:"states,omitempty"`
	// Where is an expression on the letter and its decoded value; Config.Compile says in which language. Reveal lets it see
	// personal data, which is masked for it otherwise.
	Where  string `json:"where,omitempty"`
	Reveal bool   `json:"reveal,omitempty"`
	Limit  int    `json:"limit,omitempty"` // letters at most; 0: no limit
}

// Offsets is a range of offsets, both inclusive. A negative To is no bound.
type Offsets struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Header is a header of the original, or a dlq-* one, with a value that it must have.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Change is what a repair makes of a letter.
type Change struct {
	Patch   json.RawMessage   `json:"patch,omitempty"`   // JSON merge patch (RFC 7386) of the value
	Headers map[string]string `json:"headers,omitempty"` // to set; an empty value takes the header away
}

// Order says what to do with which letters, and how.
type Order struct {
	Action    Action    `json:"action"`
	Selection Selection `json:"selection"`
	Change    *Change   `json:"change,omitempty"` // of a Repair
	// Rate is letters per second at most; 0: no limit.
	Rate float64 `json:"rate,omitempty"`
	// Concurrency is how many partitions are read, matched and changed at once; 0: one for each CPU.
	Concurrency int `json:"concurrency,omitempty"`
	// MaxReplays parks a letter that was replayed so often instead of replaying it again; 0: DefaultMaxReplays.
	MaxReplays int `json:"max_replays,omitempty"`
	// StopShare stops a replay when this share of what consumers have judged came back, once StopAfter letters are judged.
	// 0: DefaultStopShare and DefaultStopAfter; 1: never.
	StopShare float64 `json:"stop_share,omitempty"`
	StopAfter int     `json:"stop_after,omitempty"`
	// TakeOver goes on although another replayer is at work, which then ends.
	TakeOver bool `json:"-"`

	By   string `json:"-"`
	Why  string `json:"-"` // required
	From string `json:"-"`
}

// Defaults of an order.
const (
	DefaultMaxReplays = 3
	DefaultStopShare  = 0.5
	DefaultStopAfter  = 100
)

// Match says whether a letter is meant.
type Match func(ctx context.Context, letter deadletter.Letter) (bool, error)

// Changer changes letters.
type Changer interface {
	// Change returns the letter with the change made. Refusal says why it refuses, quoting no value: the letter is then
	// skipped. An error ends the run.
	Change(ctx context.Context, change Change, letter deadletter.Letter) (changed deadletter.Letter, refusal string, err error)
}

// Config is what a desk is made with.
type Config struct {
	// Compile makes a Match of a selection's Where. Its error names the place in the expression.
	Compile func(where string, reveal bool) (Match, error)
	Changer Changer
	// BatchLetters of one transaction at most; 0: 2,000.
	BatchLetters int
}
