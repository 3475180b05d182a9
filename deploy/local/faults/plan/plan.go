// Package plan owns the known history that a fault run publishes, and what must come of it.
//
// A plan is a pure function: each of its steps follows from the seed and the step's number alone, so that a producer that
// was killed goes on in the middle, and a checker that shares nothing with the producers knows what they have published.
package plan

import (
	"errors"
	"iter"
	"math"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
)

// Plan is a history. Plans with equal fields are equal, record by record.
type Plan struct {
	Seed uint64
	// Events is the number of records, duplicates and poison among them.
	Events int
	// Forecast and People are the registry's IDs of the topics' schemas, which poison records are written with.
	Forecast, People SchemaIDs
}

// SchemaIDs are what a registry calls the schemas of one topic.
type SchemaIDs struct {
	Registered int // of the schema that the topic has
	Evolved    int // of EvolvedSchema, which must not be registered before the plan is published
}

// Validate says what is wrong with a plan.
func (p Plan) Validate() error {
	var errs []error
	if p.Events < 1 || p.Events > math.MaxInt32 {
		errs = append(errs, errors.New("a plan has between 1 and 2147483647 events"))
	}
	seen := make(map[int]bool)
	for _, id := range []int{p.Forecast.Registered, p.Forecast.Evolved, p.People.Registered, p.People.Evolved} {
		if id < 1 || seen[id] {
			errs = append(errs, errors.New("the four schema IDs of a plan must be positive and different"))
			break
		}
		seen[id] = true
	}
	return errors.Join(errs...)
}

// Topics are the topics that a plan publishes to.
func Topics() []string { return []string{schemas.ForecastTopic, schemas.PeopleTopic} }

// Role says why a step is in the plan.
type Role uint8

// The roles. Every other role than Poisoned is the role of a valid event.
const (
	Fresh     Role = iota // a new version of a key, in the order of the source's clock
	Late                  // a new version of a key that is up to maxDelay steps behind that order
	Twin                  // the opposite operation of an earlier step, of the same key at the same source version
	Duplicate             // the event of an earlier step once more, byte for byte
	Reexport              // the content of an earlier step, observed by a later run
	Poisoned              // what a broken producer writes
	roles
)

// String names the role.
func (r Role) String() string {
	return [roles]string{"fresh", "late", "twin", "duplicate", "re-export", "poison"}[r]
}

// Step is one record of the plan.
type Step struct {
	Role  Role
	Topic string
	// Event is sealed and valid. Of a poison record it is what its producer should have written.
	Event event.Event
	// Poison is what to publish instead of the event; nil for all other roles.
	Poison *Poison
}

// Steps are those of one worker among several, in order and from a step on: i with i ≡ worker mod workers and i ≥ from.
func (p Plan) Steps(worker, workers, from int) iter.Seq2[int, Step] {
	return func(yield func(int, Step) bool) {
		first := max(0, from-worker) // in units of the worker's own
		for i := worker + (first+workers-1)/workers*workers; i < p.Events; i += workers {
			if !yield(i, p.Step(i)) {
				return
			}
		}
	}
}

// Step is the i-th step.
func (p Plan) Step(i int) Step {
	f, run := p.resolve(i)
	step := Step{Role: p.role(i), Topic: Topics()[f.topic], Event: p.event(f, run)}
	if step.Role == Poisoned {
		step.Poison = p.poison(i, f, run, step.Event)
	}
	return step
}
