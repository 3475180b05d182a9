package desk

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
)

// replayedRecord is what a judge's spans stand for.
type replayedRecord struct {
	at     partition
	offset int64
	group  string
	back   bool
}

// TestAJudgeCountsLikeOneThatKeepsEachRecord, however the records lie, whoever commits how far, and whatever comes back how often.
func TestAJudgeCountsLikeOneThatKeepsEachRecord(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			j := newJudge(nil, "run")
			var records []replayedRecord
			next := map[partition]int64{}
			commits := map[string]int64{}
			committed := func(group string, at partition) int64 { return commits[group+at.topic+fmt.Sprint(at.id)] }
			for range 1 + random.IntN(60) {
				at := partition{[]string{"a", "b"}[random.IntN(2)], int32(random.IntN(2))}
				group := []string{"", "x", "y"}[random.IntN(3)]
				switch random.IntN(4) {
				case 0, 1:
					next[at] += int64(random.IntN(3) / 2) // a marker, or somebody else's record
					for range 1 + random.IntN(150) {
						j.sent(at.topic, at.id, next[at], group)
						records = append(records, replayedRecord{at: at, offset: next[at], group: group})
						next[at]++
					}
				case 2:
					if group != "" {
						key := group + at.topic + fmt.Sprint(at.id)
						commits[key] += random.Int64N(max(1, next[at]-commits[key]) + 1)
					}
				default:
					if len(records) > 0 { // a record comes back, before the commit that passes it
						r := &records[random.IntN(len(records))]
						if r.group != "" && committed(r.group, r.at) <= r.offset {
							r.back = true
							require.NoError(t, j.take(letterOf(*r, "run")))
						}
						require.NoError(t, j.take(letterOf(records[random.IntN(len(records))], "another run")))
					}
				}
				wantJudged, wantReturned, wantLeft := 0, 0, 0
				for _, r := range records {
					switch passed := committed(r.group, r.at) > r.offset; {
					case r.group == "":
					case r.back:
						wantJudged++
						wantReturned++
					case passed:
						wantJudged++
					default:
						wantLeft++
					}
				}
				judged, returned := j.count(committed)
				require.Equal(t, [3]int{wantJudged, wantReturned, wantLeft}, [3]int{judged, returned, j.left})
			}
		})
	}
}

// letterOf is the record of the letter that a replayed record has become again.
func letterOf(r replayedRecord, run string) *kgo.Record {
	original := deadletter.Letter{Topic: r.at.topic}.Replay(run)
	original.Partition, original.Offset = r.at.id, r.offset
	return deadletter.NewWriter(nil, r.group, "v1").Record(consume.Poison{Record: original, Reason: "validation", Stage: consume.StageDecode, Failed: failed})
}

// TestAMillionReplayedRecordsAreAFewSpans.
func TestAMillionReplayedRecordsAreAFewSpans(t *testing.T) {
	t.Parallel()
	j := newJudge(nil, "run")
	for i := range int64(1_000_000) {
		j.sent("a", int32(i%6), i/6+i/30_000, "x") // a marker after each batch
	}
	spans := 0
	for _, s := range j.waiting {
		spans += len(s)
	}
	require.Less(t, spans, 300)
	judged, returned := j.count(func(string, partition) int64 { return 1 << 40 })
	require.Equal(t, 1_000_000, judged)
	require.Zero(t, returned)
	for _, s := range j.waiting {
		require.Empty(t, s)
	}
}
