package desk

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/revstream/revstream/pipeline/deadletter"
)

var (
	// ErrNoWhy is returned for an order that says nothing of why.
	ErrNoWhy = errors.New("a reason is required: it is kept with every decision")
	// ErrUnknownRun is returned by Resume for a run that the topic of decisions does not have.
	ErrUnknownRun = errors.New("there is no such run: it may have expired")
	// ErrUnknownLetter is returned for an ID at which there is no dead letter.
	ErrUnknownLetter = errors.New("no dead letter there: it may have expired")
	// ErrOvertaken is returned by a run that another replayer has taken over from. What it has done stays done, and it
	// can be resumed.
	ErrOvertaken = errors.New("another replayer has taken over")
)

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// BusyError is returned while another replayer is at work.
type BusyError struct{ Run deadletter.Run }

// Error implements error.
func (e *BusyError) Error() string {
	r := e.Run
	return fmt.Sprintf("%s %s by %s from %s is at work and was last heard of at %s: wait for it, or take over with --take-over, which ends it and lets it be resumed",
		actionOf(r), r.ID, r.By, r.From, r.UpdatedAt.Format(time.RFC3339))
}

// actionOf names what a run does as it was ordered.
func actionOf(r deadletter.Run) Action {
	var order Order
	if json.Unmarshal(r.Order, &order) != nil || order.Action == "" {
		return Action(r.Action)
	}
	return order.Action
}

// explain adds what an operator cannot guess.
func explain(err error) error {
	switch {
	// The last of them is Kafka's answer to a commit that comes just after somebody's taking over, or the time-out, has aborted the
	// transaction: it takes the request for the abort's own, sent again, and finds that the two do not agree.
	case errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.InvalidTxnState):
		return fmt.Errorf("%w, or the transaction timed out: %w", ErrOvertaken, err)
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return fmt.Errorf("the user needs WRITE and DESCRIBE on the transactional ID %s: %w", transactionalID, err)
	default:
		return err
	}
}

// explainRead is explain for what a topic was asked.
func explainRead(topic string, err error) error {
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return fmt.Errorf("the user needs READ and DESCRIBE on topic %s: %w", topic, err)
	}
	return err
}

// explainWrite is explain for a record that a topic was sent.
func explainWrite(topic string, err error) error {
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("the user needs WRITE and DESCRIBE on topic %s: %w", topic, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("topic %s is gone: create it with `provision`: %w", topic, err)
	default:
		return explain(err)
	}
}
