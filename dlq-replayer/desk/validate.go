package desk

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"

	"github.com/revstream/revstream/pipeline/deadletter"
)

// decision that an action makes; empty for an unknown action.
func (a Action) decision() string {
	switch a {
	case Replay, Repair:
		return deadletter.Replayed
	case Park:
		return deadletter.Parked
	case Unpark:
		return deadletter.Unparked
	case Discard:
		return deadletter.Discarded
	default:
		return ""
	}
}

// replays says whether the action puts letters back on their topics.
func (a Action) replays() bool { return a.decision() == deadletter.Replayed }

// usual is the state of the letters that an action means, if its order says nothing of states.
func (a Action) usual() string {
	if a == Unpark {
		return Parked
	}
	return Open
}

// declines says why an action leaves a letter of a state as it is; empty if it does not.
func (a Action) declines(state string) string {
	switch {
	case a == Unpark && state == Parked, a != Unpark && state == Open, a == Discard && state == Parked:
		return ""
	case a == Unpark:
		return "it is not parked, but " + state
	default:
		return "already " + state
	}
}

// validate tells everything that is wrong with an order, but for its selection.
func (o Order) validate() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(o.Action.decision() == "", "%q is not what can be done with letters: that is %s, %s, %s, %s or %s", o.Action, Replay, Repair, Park, Unpark, Discard)
	changes := o.Change != nil && (len(o.Change.Patch) > 0 || len(o.Change.Headers) > 0)
	wrong(o.Action == Repair && !changes, "a repair needs a patch of the value, or headers to set")
	wrong(o.Action != Repair && o.Change != nil, "only a repair changes letters")
	wrong(o.Rate < 0 || math.IsNaN(o.Rate) || math.IsInf(o.Rate, 0), "the rate must be a number of letters per second, or 0 for no limit")
	wrong(o.Concurrency < 0, "the concurrency must not be negative")
	wrong(o.MaxReplays < 0, "the most replays of a letter must not be negative")
	wrong(!(o.StopShare >= 0 && o.StopShare <= 1), "the share of failed letters to stop at must be between 0 and 1")
	wrong(o.StopAfter < 0, "the number of letters to judge before stopping must not be negative")
	return errors.Join(errs...)
}

func (o Order) validateWhy() error {
	if strings.TrimSpace(o.Why) == "" {
		return ErrNoWhy
	}
	return nil
}

// withDefaults fills in what the order leaves open.
func (o Order) withDefaults() Order {
	if o.MaxReplays == 0 {
		o.MaxReplays = DefaultMaxReplays
	}
	if o.StopShare == 0 {
		o.StopShare = DefaultStopShare
	}
	if o.StopAfter == 0 {
		o.StopAfter = DefaultStopAfter
	}
	switch {
	case o.Selection.Limit > 0:
		o.Concurrency = 1 // the first letters in the order in which they are listed
	case o.Concurrency == 0:
		o.Concurrency = runtime.GOMAXPROCS(0)
	}
	return o
}
