package desk

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sort"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
)

// judge finds out what became of a run's replayed records. Each is judged once the group that had dead-lettered it has
// committed past it, or has dead-lettered it again. It holds what is not judged yet, as spans of offsets: records that
// stand side by side cost next to nothing, however many there are.
//
// A consumer commits only what it has dealt with, so a letter that comes back lies on its topic before the commit that
// passes its record. Hence the commits are read first, and the letters then: of what is judged all returns are known.
type judge struct {
	client *kgo.Client
	runID  string

	waiting  map[partition][]span         // by the original's partition, each in order
	letters  map[string]snapshot.Position // by dead-letter topic: where to read on
	judged   int                          // of the records that are not waiting any more,
	returned int                          // and how many of these came back
	left     int                          // records that were not judged at the last poll
}

type partition struct {
	topic string
	id    int32
}

// span is replayed records that stand side by side and are of letters of one group.
type span struct {
	group    string
	first    int64
	records  int64
	returned []uint64 // a bit for each record that came back; shorter than there are records
}

func newJudge(client *kgo.Client, runID string) *judge {
	return &judge{client: client, runID: runID, waiting: make(map[partition][]span), letters: make(map[string]snapshot.Position)}
}

// begin takes note of where dead-letter topics end. What comes back lies behind.
func (j *judge) begin(ctx context.Context, scope []stretch) error {
	for _, s := range scope {
		if j.letters[s.topic] != nil {
			continue
		}
		_, ends, err := snapshot.Bounds(ctx, j.client, s.topic)
		if err != nil {
			return explainRead(s.topic, err)
		}
		j.letters[s.topic] = ends
	}
	return nil
}

// sent takes note of a replayed record, and of the group that had dead-lettered it. Those of a partition come in order.
func (j *judge) sent(topic string, id int32, offset int64, group string) {
	if group == "" {
		return // nobody can be asked
	}
	at := partition{topic, id}
	spans := j.waiting[at]
	if last := len(spans) - 1; last >= 0 && spans[last].group == group && spans[last].first+spans[last].records == offset {
		spans[last].records++
		return
	}
	j.waiting[at] = append(spans, span{group: group, first: offset, records: 1})
}

// poll looks at what consumers have done since. It tells of all records that were sent how many are judged, and how many of
// those came back.
func (j *judge) poll(ctx context.Context) (judged, returned int, err error) {
	committed := kadm.NewClient(j.client).FetchManyOffsets(ctx, j.groups()...)
	for group, answer := range committed {
		// A group that does not exist has committed nothing.
		if answer.Err != nil && !errors.Is(answer.Err, kerr.GroupIDNotFound) {
			return 0, 0, fmt.Errorf("reading what group %s has committed: %w", group, answer.Err)
		}
	}
	for topic := range j.letters {
		read, err := snapshot.ReadOn(ctx, j.client, topic, j.letters[topic], j.take)
		if err != nil {
			return 0, 0, explainRead(topic, err)
		}
		j.letters[topic] = read
	}
	judged, returned = j.count(func(group string, at partition) int64 {
		to, _ := committed[group].Fetched.Lookup(at.topic, at.id)
		return to.At
	})
	return judged, returned, nil
}

// count counts what is judged when groups have committed so far, and lets go of the spans that they have passed.
func (j *judge) count(committed func(group string, at partition) int64) (judged, returned int) {
	j.left = 0
	for at, spans := range j.waiting {
		var left []span
		for _, s := range spans {
			passed := min(max(0, committed(s.group, at)-s.first), s.records)
			back, ahead := s.count(passed)
			if passed == s.records {
				j.judged += int(passed)
				j.returned += back
				continue
			}
			judged += int(passed) + ahead
			j.left += int(s.records-passed) - ahead
			returned += back + ahead
			left = append(left, s)
		}
		j.waiting[at] = left
	}
	return j.judged + judged, j.returned + returned
}

// take takes note of a letter, if it is one of the run's records that came back.
func (j *judge) take(rec *kgo.Record) error {
	if !slices.ContainsFunc(rec.Headers, func(h kgo.RecordHeader) bool { return string(h.Value) == j.runID }) {
		return nil // most are not, and need not be taken apart
	}
	letter, err := deadletter.Parse(rec)
	if err != nil || letter.ReplayID != j.runID {
		return nil //nolint:nilerr // what is no letter is none of the run's
	}
	spans := j.waiting[partition{letter.Topic, letter.OriginalPartition}]
	i := sort.Search(len(spans), func(i int) bool { return spans[i].first+spans[i].records > letter.OriginalOffset })
	if i < len(spans) && spans[i].first <= letter.OriginalOffset {
		spans[i].mark(letter.OriginalOffset - spans[i].first)
	}
	return nil
}

// mark takes note that a record came back, which it may do twice: a consumer that was killed dead-letters it again.
func (s *span) mark(i int64) {
	for int64(len(s.returned)) <= i/64 {
		s.returned = append(s.returned, 0)
	}
	s.returned[i/64] |= 1 << (i % 64)
}

// count counts the records that came back: those before the n-th, and the others.
func (s *span) count(n int64) (before, behind int) {
	for i, word := range s.returned {
		all := bits.OnesCount64(word)
		if low := n - int64(i)*64; low < 64 {
			word &= 1<<max(0, low) - 1
		}
		before += bits.OnesCount64(word)
		behind += all - bits.OnesCount64(word)
	}
	return before, behind
}

// groups are those of records that are not judged.
func (j *judge) groups() []string {
	seen := make(map[string]bool)
	for _, spans := range j.waiting {
		for _, s := range spans {
			seen[s.group] = true
		}
	}
	groups := make([]string, 0, len(seen))
	for group := range seen {
		groups = append(groups, group)
	}
	return groups
}
