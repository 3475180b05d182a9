package consume_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// pieces is a sink that refuses what begins with "refused", two of them at a time.
type pieces struct {
	*member
	asked int // how often
}

func (p *pieces) NewBatch() consume.Batch { return &piecesBatch{memberBatch{member: p.member}, p} }

type piecesBatch struct {
	memberBatch
	sink *pieces
}

func (b *piecesBatch) Store(context.Context) ([]consume.Refused, error) {
	if len(b.records) == 0 {
		return nil, nil
	}
	b.sink.asked++
	for i, refused := 0, 0; i < len(b.records); i++ {
		if strings.HasPrefix(string(b.records[i].Value), "refused") {
			refused++
		}
		if refused == 2 {
			first := b.records[:i+1]
			b.records = b.records[i+1:]
			return b.store(first), consume.ErrUnfinished
		}
	}
	return b.store(b.records), nil
}

// TestPoisonThatComesInParts is all dead-lettered and nothing else, or stops
// the loop as soon as it is over the cap.
func TestPoisonThatComesInParts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		share float64
		stops bool
		asked int
	}{
		"within the cap": {0.9, false, 5},
		"over the cap":   {0.5, true, 2},
		"without a cap":  {1, false, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, seen := broker(t, 1)
			values := []string{"good-0", "refused-1", "refused-2", "bad-3", "refused-4", "refused-5", "good-6"}
			for i := 7; i < 12; i++ {
				values = append(values, fmt.Sprint("refused-", i))
			}
			produce(t, cluster, 0, append(values, "good-12")...)
			m := newMember(t, seen)
			m.cfg.BatchRows, m.cfg.BatchAge, m.cfg.PoisonShare = 13, time.Minute, c.share
			sink := &pieces{member: m}
			loop, err := consume.New(m.cfg, pipelinetest.Logger(t), prometheus.NewRegistry(), sink, m)
			require.NoError(t, err)
			client := pipelinetest.Client(t, cluster, append(loop.Options(), pipelinetest.Watch(seen.committing))...)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- loop.Run(ctx, client) }()
			if c.stops {
				var capped *consume.PoisonCapError
				require.ErrorAs(t, <-ended, &capped)
				require.Equal(t, 3, capped.Poison)
				require.Empty(t, seen.letterPlaces())
				require.Empty(t, seen.committed())
			} else {
				committedAre(t, seen, map[int32]int64{0: 13})
				cancel()
				require.NoError(t, <-ended)
				places := seen.letterPlaces()
				slices.SortFunc(places, func(a, b at) int { return int(a.Offset - b.Offset) })
				require.Equal(t, []at{{0, 1}, {0, 2}, {0, 3}, {0, 4}, {0, 5}, {0, 7}, {0, 8}, {0, 9}, {0, 10}, {0, 11}}, places)
			}
			require.Equal(t, c.asked, sink.asked)
			cancel()
		})
	}
}
