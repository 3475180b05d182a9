// Package consume owns the record loop: poll, batch, store, commit.
//
// It knows records, not entities, and neither ClickHouse nor the dead-letter
// topic: it declares what it needs of them, and the binaries wire them in.
package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Sink stores events.
type Sink interface {
	// NewBatch makes an empty batch.
	NewBatch() Batch
}

// Batch is events on their way into a sink. It is filled, and then stored. One batch is filled
// while another is stored; no two are filled, and no two stored, at the same time.
type Batch interface {
	// Add takes the event of a record, and keeps nothing of the record itself. An error with a
	// method Reason() string says that there will never be a valid event in it, and ErrTombstone that
	// there is none and need be none; any other error is an outage, which the loop waits out.
	Add(ctx context.Context, rec *kgo.Record) error
	// Store returns once every event of the batch is durable and visible once,
	// except those that it returns as refused because they can never be stored.
	// An error says that it is to be called again: the loop retries it until it
	// passes, unless it is a *FatalError. With ErrUnfinished come refused events, and Store called
	// again goes on without them. Nothing is added after the first call.
	Store(ctx context.Context) ([]Refused, error)
}

// ErrUnfinished is returned by a Store that has refused so much that the
// loop should look at it before it goes on. It has gone through the batch in order:
// what comes before the last of the refused is stored or refused itself.
var ErrUnfinished = errors.New("much of the batch is refused")

// ErrTombstone is returned by an Add for a record without a value, which tells the topic's compaction that the key is
// gone. There is nothing to store of it.
var ErrTombstone = errors.New("the record has no value")

// Place is where a record lies in the topic.
type Place struct {
	Partition int32
	Offset    int64
}

// Refused is an event that a sink can never store, by the place of its record.
type Refused struct {
	Place
	Reason  string // as Poison has it
	Message string
	Failed  time.Time
}

// DeadLetters takes what cannot succeed.
type DeadLetters interface {
	// Write keeps no record when it is done. It returns once all of it is acknowledged, or with an error and what is
	// left. The loop tries again with that until it passes, unless the error is
	// a *FatalError.
	Write(ctx context.Context, poison []Poison) (left []Poison, err error)
	// Returning says that a record is a dead letter that was replayed.
	Returning(rec *kgo.Record) bool
}

// Stage says where in the loop a record turned out to be poison.
type Stage string

// The stages.
const (
	StageDecode Stage = "decode"
	StageSink   Stage = "sink"
)

// ReasonTooLarge is the reason of a value over Config.MaxValueBytes.
const ReasonTooLarge = "too_large"

// Poison is a record that can never succeed, and why.
type Poison struct {
	Record  *kgo.Record
	Stage   Stage
	Reason  string // class, such as "corrupt_value": counted and filtered by
	Message string // for people; names fields, never values
	Failed  time.Time
}

// FatalError stops the loop: neither waiting nor dead-lettering can help.
type FatalError struct{ Err error }

func (e *FatalError) Error() string { return e.Err.Error() }

// Unwrap gives errors.Is and errors.As the cause.
func (e *FatalError) Unwrap() error { return e.Err }

func isFatal(err error) bool {
	var fatal *FatalError
	return errors.As(err, &fatal)
}

// Config bounds a loop. Each binary embeds it in its settings.
type Config struct {
	Topic string `kong:"-"`
	Group string `kong:"-"`

	// InstanceID makes the member static: when its process comes back under the
	// same ID, it has its partitions again at once, without a rebalance.
	InstanceID string `name:"group-instance-id" env:"GROUP_INSTANCE_ID" placeholder:"ID" help:"Name of this process in its consumer groups, such as the pod's: a restart under it needs no rebalance. Must differ between processes." group:"Consuming"`

	// GroupProtocol is how the members of the group share the partitions; empty
	// means classic.
	GroupProtocol string `name:"group-protocol" env:"GROUP_PROTOCOL" default:"classic" placeholder:"NAME" help:"How members share the partitions: classic, or consumer (KIP-848, by brokers of Kafka 4.0 and later)." group:"Consuming"`

	BatchRows     int           `name:"batch-rows" env:"BATCH_ROWS" default:"100000" help:"Records of a batch at most." group:"Consuming"`
	BatchBytes    int           `name:"batch-bytes" env:"BATCH_BYTES" default:"41943040" help:"Bytes of a batch's values at most; a single larger value still passes." group:"Consuming"`
	BatchAge      time.Duration `name:"batch-age" env:"BATCH_AGE" default:"250ms" help:"Longest wait for a batch to fill; one behind another that is being stored goes on filling." group:"Consuming"`
	MaxValueBytes int           `name:"max-value-bytes" env:"MAX_VALUE_BYTES" default:"1048576" help:"Larger values are dead-lettered." group:"Consuming"`

	// The stop deadline ends a batch in hand that the sink does not take; what
	// it held is read again by the next member.
	StopTimeout    time.Duration `name:"stop-timeout" env:"STOP_TIMEOUT" default:"15s" help:"Time for the batch in hand when stopping." group:"Consuming"`
	SessionTimeout time.Duration `name:"session-timeout" env:"SESSION_TIMEOUT" default:"10s" help:"Time after which the group gives a silent member's partitions away; with the consumer protocol the brokers' own setting holds instead." group:"Consuming"`
	RetryMax       time.Duration `name:"retry-max" env:"RETRY_MAX" default:"5s" help:"Longest pause between tries while something is away." group:"Consuming"`

	// Above the cap the loop stops: a misconfigured registry makes every
	// record look like poison.
	PoisonShare  float64 `name:"poison-share" env:"POISON_SHARE" default:"0.5" help:"Share of poison among a partition's last records above which the consumer stops; 1 never stops it." group:"Consuming"`
	PoisonWindow int     `name:"poison-window" env:"POISON_WINDOW" default:"1000" help:"Records of a partition that the share is taken of." group:"Consuming"`
	PoisonMin    int     `name:"poison-min" env:"POISON_MIN" default:"100" help:"Poison records in the window below which the consumer never stops." group:"Consuming"`
}

func (c Config) validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.Topic != "", "consume: the topic is required")
	need(c.Group != "", "consume: the group is required")
	need(c.GroupProtocol == "" || c.GroupProtocol == ProtocolClassic || c.GroupProtocol == ProtocolConsumer,
		"GROUP_PROTOCOL must be classic or consumer (or --group-protocol)")
	need(c.BatchRows > 0, "BATCH_ROWS must be positive (or --batch-rows)")
	need(c.BatchBytes > 0, "BATCH_BYTES must be positive (or --batch-bytes)")
	need(c.BatchAge > 0, "BATCH_AGE must be positive (or --batch-age)")
	need(c.MaxValueBytes > 0, "MAX_VALUE_BYTES must be positive (or --max-value-bytes)")
	need(c.StopTimeout > 0, "STOP_TIMEOUT must be positive (or --stop-timeout)")
	need(c.SessionTimeout > 0, "SESSION_TIMEOUT must be positive (or --session-timeout)")
	need(c.RetryMax > 0, "RETRY_MAX must be positive (or --retry-max)")
	need(c.PoisonShare > 0 && c.PoisonShare <= 1, "POISON_SHARE must be above 0 and at most 1 (or --poison-share)")
	need(c.PoisonWindow > 0, "POISON_WINDOW must be positive (or --poison-window)")
	need(c.PoisonMin > 0 && c.PoisonMin <= c.PoisonWindow, "POISON_MIN must be positive and at most POISON_WINDOW (or --poison-min)")
	return errors.Join(errs...)
}

// PoisonCapError says that so many records of a partition are poison that the
// cause is more likely a setting than the records.
type PoisonCapError struct {
	Topic     string
	Partition int32
	Poison    int // records of the window
	Window    int
	Reason    string // of the newest poison record
}

func (e *PoisonCapError) Error() string {
	return fmt.Sprintf("%d of the last %d records of %s partition %d are poison (the last one: %s): check the schema registry and the topic; to dead-letter them all the same, restart with POISON_SHARE=1 (or --poison-share=1)",
		e.Poison, e.Window, e.Topic, e.Partition, e.Reason)
}
