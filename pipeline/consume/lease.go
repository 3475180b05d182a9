package consume

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lease is the time for which this member owns a partition. A partition that
// comes back gets a new lease.
type lease struct {
	topic     string
	partition int32
	over      bool // guarded by leases.mu

	window window // touched by the storing goroutine alone
}

type partition struct {
	topic string
	id    int32
}

// leases holds what this member owns. The group's callbacks write it, from
// the client's goroutine; the loop reads it.
type leases struct {
	mu    sync.Mutex
	owned map[partition]*lease
	held  atomic.Int64 // len(owned), for those who cannot wait for a commit
}

func (ls *leases) assigned(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for topic, ids := range parts {
		for _, id := range ids {
			ls.owned[partition{topic, id}] = &lease{topic: topic, partition: id}
		}
	}
	ls.held.Store(int64(len(ls.owned)))
}

// ended is called when partitions are revoked or lost, before another member
// gets them. It waits for a commit that is under way, as commit holds the lock.
func (ls *leases) ended(parts map[string][]int32) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for topic, ids := range parts {
		for _, id := range ids {
			if l, ok := ls.owned[partition{topic, id}]; ok {
				l.over = true
				delete(ls.owned, partition{topic, id})
			}
		}
	}
	ls.held.Store(int64(len(ls.owned)))
}

// of returns the lease of a partition, or nil where it was taken away between
// the poll and now: its records are the next owner's.
func (ls *leases) of(topic string, id int32) *lease {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.owned[partition{topic, id}]
}

// commit commits the ends of those shares whose leases still hold.
//
// The lock is held through the request, and this is why: were the lease only
// looked at first, this could happen: we see that it holds; it is revoked;
// the next owner stores further records and commits past them; our request
// arrives and takes the group back. That would only read records again, but a
// member that wakes up after its session could do it for ever. With the lock,
// the revocation waits for our answer, and after it we never commit.
func (ls *leases) commit(ctx context.Context, client *kgo.Client, shares []share) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	offsets := make(map[string]map[int32]kgo.EpochOffset)
	for _, s := range shares {
		l := s.lease
		if l.over {
			continue
		}
		if offsets[l.topic] == nil {
			offsets[l.topic] = make(map[int32]kgo.EpochOffset)
		}
		offsets[l.topic][l.partition] = s.end
	}
	if len(offsets) == 0 {
		return nil
	}
	return commitSync(ctx, client, offsets)
}
