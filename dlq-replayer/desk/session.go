package desk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
)

// session is this process's hold of the transactional ID. Its runs share it: the first opens it, the last closes it, and
// in between their transactions take turns. Other processes are fenced while it lasts, so the decisions that were read
// when it was opened, and those that it has committed since, are all there are.
type session struct {
	client *kgo.Client
	runs   int // that share it; Desk.mu guards it

	mu       sync.Mutex // held for a transaction; guards what follows
	ledger   *ledger    // its states may be read without the mutex
	together int        // bytes of records that go out together
	lost     error      // why it cannot commit any more
	there    *there     // for imports; has a mutex of its own
}

// join takes a share in the session of this process, which it opens if there is none. Unless told to take over, it
// leaves another process at its work.
func (d *Desk) join(ctx context.Context, takeOver bool) (*session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == nil {
		s, err := d.open(ctx, takeOver)
		if err != nil {
			return nil, err
		}
		d.session = s
	}
	d.session.runs++
	return d.session, nil
}

// open must be called with the mutex held.
func (d *Desk) open(ctx context.Context, takeOver bool) (*session, error) {
	ledger, err := d.ledger(ctx)
	if err != nil {
		return nil, err
	}
	for id, run := range ledger.runs {
		if _, ours := d.atWork[id]; !takeOver && !ours && run.Status == deadletter.Running && d.pace.now().Sub(run.UpdatedAt) < d.pace.lease {
			return nil, &BusyError{Run: run}
		}
	}
	client, err := d.writer()
	if err != nil {
		return nil, err
	}
	if err = fence(ctx, client); err == nil {
		// What was committed until the others were fenced. Nothing comes after but what this session writes.
		err = ledger.readOn(ctx, d)
	}
	if err == nil {
		err = d.mend(ctx, client, ledger)
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	return &session{client: client, ledger: ledger, together: mostSendBytes, there: newThere()}, nil
}

// leave gives a share back.
func (d *Desk) leave(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.runs--; s.runs > 0 {
		return
	}
	if d.session == s {
		d.session = nil
	}
	s.client.Close()
}

// lose ends a session that can commit no more, so that the next run opens another. Its runs find out at their next
// transaction. It must be called with the session's mutex held.
func (d *Desk) lose(s *session, why error) {
	s.lost = why
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == s {
		d.session = nil
	}
}

// narrow halves what goes out together, after a topic has refused it. False if that cannot be why it did.
func (s *session) narrow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.together == leastSendBytes {
		return false
	}
	s.together = max(leastSendBytes, s.together/2)
	return true
}

// Close ends the session of runs that are still at work, which end with an error and can be resumed.
func (d *Desk) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session != nil {
		d.session.client.Close()
		d.session = nil
	}
}

// enter notes that a run of this process is at work. False if it is already.
func (d *Desk) enter(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.atWork[id] {
		return false
	}
	d.atWork[id] = true
	return true
}

func (d *Desk) exit(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.atWork[id] = false
}

// fence keeps the replayers that came before from committing anything more.
func fence(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if _, _, err := client.ProducerID(ctx); err != nil {
		return fmt.Errorf("taking over the transactional ID %s: %w", transactionalID, explain(err))
	}
	return nil
}

// settle waits until what was committed last can be read. Brokers acknowledge the end of a transaction before its
// records show, and until then a letter that was replayed looks open: to list, and to the next run.
func (d *Desk) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	admin := kadm.NewClient(d.client)
	tick := time.NewTicker(settleWait)
	defer tick.Stop()
	for ; ; <-tick.C {
		described, err := admin.DescribeTransactions(ctx, transactionalID)
		if err == nil {
			err = described[transactionalID].Err
		}
		if err != nil {
			d.logger.WarnContext(ctx, "what was decided may not show for a moment", "error", err)
			return
		}
		if state := described[transactionalID].State; state != "PrepareCommit" && state != "PrepareAbort" {
			return
		}
	}
}

// isRefusal says that a topic does not take one of a transaction's records.
func isRefusal(err error) bool { return errors.As(err, new(*refusedError)) }
