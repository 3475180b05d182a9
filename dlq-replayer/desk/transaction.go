package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
)

// transactionalID is the same for every replayer of a cluster, so that one process writes at a time. A session takes the
// ID over before it reads the last of the decisions. From then on the process before it is fenced: of its open
// transaction, if it crashed or is still at work, nothing stays, and it cannot commit another. So the decisions that the
// session reads are all that there will ever be but its own, and no letter is replayed twice. The runs that were
// overtaken end with an error, and have done nothing by halves.
//
// With an ID for each run, two of them could replay a letter twice. That would be harmless, as consumers drop the second
// event by its ID; but a crashed run would also block those who read committed records until its transaction times out.
const transactionalID = "revstream-dlq-replayer"

const (
	reachTimeout       = 15 * time.Second // to get hold of the cluster
	produceTimeout     = 30 * time.Second // of a transaction's records
	endTimeout         = 15 * time.Second // to commit or to abort
	settleWait         = 10 * time.Millisecond
	transactionTimeout = 60 * time.Second // after which the broker gives a silent session's transaction up
)

// Letters and bytes of one transaction at most.
const (
	batchLetters = 2000
	batchBytes   = 16 << 20
)

// Bytes of records that go out together: at first as many as a batch has, so that the broker is asked to keep them once,
// and fewer when a topic refuses that. The client would let a partition's records be one batch as large as that.
const (
	mostSendBytes  = batchBytes
	leastSendBytes = 900 << 10
	sendRecords    = 3 * batchLetters // letters, decisions, and some room
)

// Options are what the clients of a desk's writer must be made with.
func Options() []kgo.Opt {
	return append(deadletter.Options(), kgo.TransactionalID(transactionalID), kgo.TransactionTimeout(transactionTimeout),
		// A batch is sent and waited for as a whole: nothing comes that would join it.
		kgo.ManualFlushing(), kgo.MaxBufferedRecords(sendRecords))
}

// refusedError says that the topic does not take one of a transaction's records. Nothing of the transaction stays.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return "the topic does not take the record: " + e.err.Error() }

func (e *refusedError) Unwrap() error { return e.err }

// commit is transact, once more if the broker got the records of a connection that was lost after those of the next one:
// nothing of that transaction stays, and the client has taken a new epoch, which it cannot if it was fenced.
func commit(ctx context.Context, client *kgo.Client, records []*kgo.Record, together int) error {
	err := transact(ctx, client, records, together)
	if errors.Is(err, kerr.OutOfOrderSequenceNumber) {
		return transact(ctx, client, records, together)
	}
	return err
}

// transact writes records, all of them or none. A transaction in hand is finished even if ctx ends, under its own
// deadlines. An error other than a *refusedError leaves the client unfit for another.
func transact(ctx context.Context, client *kgo.Client, records []*kgo.Record, together int) error {
	ctx = context.WithoutCancel(ctx)
	if err := client.BeginTransaction(); err != nil {
		return fmt.Errorf("beginning a transaction: %w", explain(err))
	}
	if err := send(ctx, client, records, together); err != nil {
		return abort(ctx, client, err)
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := client.EndTransaction(ctx, kgo.TryCommit)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.OperationNotAttempted) || errors.Is(err, kerr.TransactionAbortable):
		return abort(ctx, client, fmt.Errorf("committing a transaction: %w", err))
	default:
		return fmt.Errorf("committing a transaction, which may have been committed all the same (list tells): %w", explain(err))
	}
}

// send returns once all records are acknowledged, or the first error is known. It waits for no more than its timeout,
// whereas kgo's own synchronous call waits for records in flight as long as the broker is away. No more bytes than
// together are under way at once, but for a record that is larger.
func send(ctx context.Context, client *kgo.Client, records []*kgo.Record, together int) error {
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	for len(records) > 0 {
		n, size := 1, recordBytes(records[0])
		for n < min(len(records), sendRecords) {
			if size += recordBytes(records[n]); size > together {
				break
			}
			n++
		}
		if err := sendTogether(ctx, client, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

func recordBytes(rec *kgo.Record) int {
	size := len(rec.Key) + len(rec.Value)
	for _, h := range rec.Headers {
		size += len(h.Key) + len(h.Value)
	}
	return size
}

type answer struct {
	topic string
	err   error
}

func sendTogether(ctx context.Context, client *kgo.Client, records []*kgo.Record) error {
	answers := make(chan answer, len(records))
	for _, rec := range records {
		rec.Context = nil //nolint:fatcontext // one that is sent again has that of the time before
		client.Produce(ctx, rec, func(rec *kgo.Record, err error) { answers <- answer{rec.Topic, err} })
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("producing: no answer within %s: %w", produceTimeout, err)
	}
	var failed answer
	for range records {
		select {
		case a := <-answers:
			// One that is refused by its topic explains the others, which fail with it.
			if a.err != nil && (failed.err == nil || refused(a.err)) {
				failed = a
			}
		case <-ctx.Done():
			return fmt.Errorf("producing: no answer within %s: %w", produceTimeout, ctx.Err())
		}
	}
	switch {
	case failed.err == nil:
		return nil
	case refused(failed.err):
		return &refusedError{failed.err}
	default:
		return fmt.Errorf("producing: %w", explainWrite(failed.topic, failed.err))
	}
}

func refused(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, kerr.InvalidRecord)
}

// abort undoes the transaction and returns its cause. If that fails, the next session's fence does it.
func abort(ctx context.Context, client *kgo.Client, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := client.AbortBufferedRecords(ctx)
	if err == nil {
		err = client.EndTransaction(ctx, kgo.TryAbort)
	}
	if err != nil && isRefusal(cause) {
		return fmt.Errorf("aborting a transaction: %w", explain(err)) // the client cannot go on
	}
	return cause
}
