package consume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/resilience"
)

// noteTimeout bounds the tries to leave a CapNote.
const noteTimeout = commitTimeout

// CapNote is what a consumer that its cap has stopped leaves with the group, as the process and its metrics are gone: the
// metadata, in JSON, of the partition's committed offset. The next ordinary commit of the partition replaces it.
type CapNote struct {
	At     time.Time `json:"stopped_by_cap_at"` // UTC
	Reason string    `json:"reason"`            // of the newest poison record
	Poison int       `json:"poison"`            // records of the window
	Window int       `json:"window"`
}

// ParseCapNote reads the metadata of a committed offset, and tells whether a cap has left it.
func ParseCapNote(metadata string) (note CapNote, ok bool) {
	ok = json.Unmarshal([]byte(metadata), &note) == nil && !note.At.IsZero()
	return note, ok
}

// noteCap leaves the note of a cap that has stopped the loop, if that is what err says. Whoever cannot leave it stops all
// the same.
func (l *Loop) noteCap(ctx context.Context, client *kgo.Client, b *batch, err error) {
	var capped *PoisonCapError
	if !errors.As(err, &capped) {
		return
	}
	note, err := json.Marshal(CapNote{At: time.Now().UTC(), Reason: capped.Reason, Poison: capped.Poison, Window: capped.Window})
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, noteTimeout)
		defer cancel()
		err = resilience.Forever(ctx, l.patience(&l.store, nil), l.logger, "note of the cap", func(ctx context.Context) error {
			return l.leases.note(ctx, client, l.cfg.Group, b.shares, capped.Partition, string(note))
		})
	}
	if err != nil {
		l.logger.WarnContext(ctx, "the group does not show that the cap has stopped this consumer", "partition", capped.Partition, "error", err)
	}
}

// note commits the offset that the group has of a partition once more, with metadata, if its lease still holds: the lock is
// held for the same reason as in commit, and so nobody commits between the two requests. Of a partition that the group
// has never committed it is the first offset that was read, where the next member begins anyhow.
func (ls *leases) note(ctx context.Context, client *kgo.Client, group string, shares []share, partition int32, metadata string) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	held := slices.IndexFunc(shares, func(s share) bool { return s.lease.partition == partition && !s.lease.over })
	if held < 0 {
		return nil
	}
	s := shares[held]
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	committed, err := kadm.NewClient(client).FetchOffsets(ctx, group)
	if err != nil {
		return fmt.Errorf("reading the group's offsets: %w", err)
	}
	resume := s.begin
	if at, ok := committed.Lookup(s.lease.topic, s.lease.partition); ok && at.At >= 0 {
		if at.Err != nil {
			return fmt.Errorf("reading the group's offset: %w", at.Err)
		}
		resume = kgo.EpochOffset{Epoch: at.LeaderEpoch, Offset: at.At}
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		req.Topics[0].Partitions[0].Metadata = &metadata
		return nil
	})
	return commitSync(ctx, client, map[string]map[int32]kgo.EpochOffset{s.lease.topic: {s.lease.partition: resume}})
}
