package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
)

// transactionalID is the same for every replayer of a cluster, so that one of them writes at a time. A run takes the ID
// over before it reads the decisions. From then on the run before it is fenced: of its open transaction, if it crashed
// or is still at work, nothing stays, and it cannot commit another. So the decisions that the new run reads are all that
// there will ever be but its own, and no letter is replayed twice. The run that was overtaken ends with an error, and
// has done nothing by halves.
//
// With an ID for each run, two of them could replay a letter twice. That would be harmless, as consumers drop the second
// event by its ID; but a crashed run would also block those who read committed records until its transaction times out.
const transactionalID = "revstream-dlq-replayer"

const (
	reachTimeout       = 15 * time.Second // to get hold of the cluster
	produceTimeout     = 30 * time.Second // of a transaction's records
	endTimeout         = 15 * time.Second // to commit or to abort
	settleWait         = 10 * time.Millisecond
	transactionTimeout = 60 * time.Second // after which the broker gives a silent run's transaction up
)

// Options are what the client of a Desk must be made with.
func Options() []kgo.Opt {
	return append(deadletter.Options(), kgo.TransactionalID(transactionalID), kgo.TransactionTimeout(transactionTimeout))
}

// takeOver fences the replayers that came before.
func (d *Desk) takeOver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if _, _, err := d.client.ProducerID(ctx); err != nil {
		return fmt.Errorf("taking over the transactional ID %s: %w", transactionalID, err)
	}
	return nil
}

// settle waits until what was committed last can be read. Brokers acknowledge the end of a transaction before its
// records show, and until then a letter that was replayed looks open: to list, and to a next replay with this client.
func (d *Desk) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	admin := kadm.NewClient(d.client)
	for tick := time.NewTicker(settleWait); ; <-tick.C {
		described, err := admin.DescribeTransactions(ctx, transactionalID)
		if err == nil {
			err = described[transactionalID].Err
		}
		if err != nil {
			d.logger.WarnContext(ctx, "what was replayed may look open for a moment", "error", err)
			return
		}
		if state := described[transactionalID].State; state != "PrepareCommit" && state != "PrepareAbort" {
			return
		}
	}
}

// refusedError says that the topic does not take one of a transaction's records. Nothing of the transaction stays.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return "the topic does not take the record: " + e.err.Error() }

func (e *refusedError) Unwrap() error { return e.err }

// commit replays letters and records the decision on them, all of it or nothing. A transaction in hand is finished even
// if ctx ends, under its own deadlines. An error other than a *refusedError leaves the client unfit for another.
func (d *Desk) commit(ctx context.Context, batch []Entry, decision Decision) error {
	ctx = context.WithoutCancel(ctx)
	records := make([]*kgo.Record, 0, 2*len(batch))
	for _, e := range batch {
		decided, err := decision.record(e.ID)
		if err != nil {
			return err
		}
		records = append(records, e.Letter.Replay(decision.ReplayID), decided)
	}
	if err := d.client.BeginTransaction(); err != nil {
		return fmt.Errorf("beginning a transaction: %w", explain(err))
	}
	if err := d.produce(ctx, records); err != nil {
		return d.abort(ctx, err)
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := d.client.EndTransaction(ctx, kgo.TryCommit)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.OperationNotAttempted) || errors.Is(err, kerr.TransactionAbortable):
		return d.abort(ctx, fmt.Errorf("committing a transaction: %w", err))
	default:
		return fmt.Errorf("committing a transaction, which may have been committed all the same (list tells): %w", explain(err))
	}
}

// produce returns once all records are acknowledged, or the first error is known. It waits for no more than its timeout,
// whereas kgo's own synchronous call waits for records in flight as long as the broker is away.
func (d *Desk) produce(ctx context.Context, records []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	answers := make(chan error, len(records))
	for _, rec := range records {
		d.client.Produce(ctx, rec, func(_ *kgo.Record, err error) { answers <- err })
	}
	var failed error
	for range records {
		select {
		case err := <-answers:
			// One that is refused by its topic explains the others, which fail with it.
			if err != nil && (failed == nil || refused(err)) {
				failed = err
			}
		case <-ctx.Done():
			return fmt.Errorf("producing: no answer within %s: %w", produceTimeout, ctx.Err())
		}
	}
	switch {
	case failed == nil:
		return nil
	case refused(failed):
		return &refusedError{failed}
	default:
		return fmt.Errorf("producing: %w", explain(failed))
	}
}

func refused(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, kerr.InvalidRecord)
}

// abort undoes the transaction and returns its cause. If that fails, the next run's takeOver does it.
func (d *Desk) abort(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := d.client.AbortBufferedRecords(ctx)
	if err == nil {
		err = d.client.EndTransaction(ctx, kgo.TryAbort)
	}
	if err != nil && errors.As(cause, new(*refusedError)) {
		return fmt.Errorf("aborting a transaction: %w", explain(err)) // the client cannot go on
	}
	return cause
}

// explain adds what an operator cannot guess.
func explain(err error) error {
	if errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) {
		return fmt.Errorf("another replayer has taken over, or the transaction timed out: %w", err)
	}
	return err
}
