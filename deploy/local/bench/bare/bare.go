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

// Inserter puts batches of rows into the tables of an entity. It is used by one writer at a time.
type Inserter interface {
	// Insert puts the rows from one number to another, the latter not included, into each of the tables as one block, into the
	// ledger last.
	Insert(ctx context.Context, from, to int) error
}

// Tables of an entity. The order in which a batch goes in is what consumers need, and so the limit has it, too.
var Tables = []string{"current", "history", "ledger"}

// Encoders of rows.
const (
	Driver  = "driver"  // clickhouse-go's columnar batches, of ready columns
	Product = "product" // the consumers' own, of ready events
)

// Way is how rows go in.
type Way struct {
	Encoder string
	Batch   int // rows of an insert
	Writers int // batches at a time
}

// String names the way in reports.
func (w Way) String() string { return fmt.Sprintf("%s_%dk_%dw", w.Encoder, w.Batch/1000, w.Writers) }

// Ways that are tried: the fastest is the limit.
func Ways() []Way {
	var all []Way
	for _, encoder := range []string{Driver, Product} {
		for _, batch := range []int{20_000, 50_000} {
			for _, writers := range []int{1, 2} {
				all = append(all, Way{encoder, batch, writers})
			}
		}
	}
	return all
}

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
				if err := writer.Insert(ctx, from, min(from+batch, rows)); err != nil {
					return fmt.Errorf("inserting rows bare: %w", err)
				}
			}
		})
	}
	err := group.Wait()
	return time.Since(start), err
}
