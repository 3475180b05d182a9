// Package bare owns the limit that consumers are held to: the same rows, ready in memory, into the same tables as fast as a
// columnar insert goes, with no Kafka, no Avro and no look-up.
package bare

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Inserter puts rows into a table. It is used by one writer at a time.
type Inserter interface {
	// Insert puts the rows from one number to another, the latter not included, into current, history or ledger, as one block.
	Insert(ctx context.Context, table string, from, to int) error
}

// Tables of an entity, in the order in which a batch goes in: consumers need it, and so the limit has it, too.
var Tables = []string{"current", "history", "ledger"}

// Way is how rows go in.
type Way struct {
	Encoder string // driver or product
	Batch   int    // rows of an insert
	Writers int    // batches at a time
}

// String names the way in reports.
func (w Way) String() string { return fmt.Sprintf("%s_%dk_%dw", w.Encoder, w.Batch/1000, w.Writers) }

// Run puts so many rows in, with a writer for each inserter, and returns how long it took.
func Run(ctx context.Context, rows, batch int, writers []Inserter) (time.Duration, error) {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for _, writer := range writers {
		group.Go(func() error {
			for {
				from := int(next.Add(int64(batch))) - batch
				if from >= rows {
					return nil
				}
				for _, table := range Tables {
					if err := writer.Insert(ctx, table, from, min(from+batch, rows)); err != nil {
						return fmt.Errorf("inserting rows bare: %w", err)
					}
				}
			}
		})
	}
	err := group.Wait()
	return time.Since(start), err
}
