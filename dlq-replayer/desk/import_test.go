package desk

import (
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

// exported is an archive of n letters that lay elsewhere, at offsets from 1,000 on, and of none after.
func exported(n int) func() (deadletter.Letter, error) {
	i := 0
	return func() (deadletter.Letter, error) {
		if i == n {
			return deadletter.Letter{}, io.EOF
		}
		i++
		return deadletter.Letter{
			Partition: 5, Offset: int64(1000 + i), Topic: schemas.PeopleTopic, OriginalPartition: 1, OriginalOffset: int64(i), Timestamp: failed,
			Key: fmt.Appendf(nil, "imported-%d", i), Value: fmt.Appendf(nil, "v\x00-%d", i), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte{0xff}}, {Key: "a"}},
			Reason: "validation", Message: "m", Stage: "decode", Group: "g", Version: "v", Attempts: 2, FirstFailure: failed, LastFailure: failed,
			EventID: "e", CorrelationID: "c", Replays: 1, ReplayID: "r",
		}, nil
	}
}

// requireImported asserts that of the archive of n letters each is there once, beside the others, and that the runs
// have counted them.
func requireImported(t *testing.T, cluster *pipelinetest.Cluster, others, n int) {
	t.Helper()
	next, seen := exported(n), map[string]deadletter.Letter{}
	letters := pipelinetest.ReadAll(t, cluster, peopleDLQ)
	require.Len(t, letters, others+n)
	for _, rec := range letters {
		letter, err := deadletter.Parse(rec)
		require.NoError(t, err)
		seen[string(letter.Key)] = letter
	}
	for {
		want, err := next()
		if err == io.EOF { //nolint:errorlint // it is returned as it is
			break
		}
		got := seen[string(want.Key)]
		want.ImportedFrom = fmt.Sprintf("%s/%d/%d", peopleDLQ, want.Partition, want.Offset)
		want.Partition, want.Offset = got.Partition, got.Offset
		require.Equal(t, want, got)
	}
	decided, runs := decisions(t, cluster, false)
	require.Empty(t, decided)
	done := 0
	for _, run := range runs {
		require.Equal(t, deadletter.Imported, run.Action)
		done += run.Done
	}
	require.Equal(t, n, done)
}

// TestAnImportPutsLettersBack as they were, once: neither those of an earlier import nor those that were never away, nor
// what is no letter, are put there.
func TestAnImportPutsLettersBack(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, topics...)
	write(t, cluster, peopleLetters(3)...)
	d := newDesk(t, cluster)
	own := entries(t, d, Selection{})
	report := must(t)(d.Import(t.Context(), order(), exported(5)))
	require.Equal(t, 5, report.Done)
	requireImported(t, cluster, 3, 5)

	again := exported(5)
	mixed := func() (deadletter.Letter, error) {
		if len(own) == 0 {
			return again()
		}
		letter := own[0].Letter
		own = own[1:]
		if len(own) == 0 { // of another cluster, with another letter at that place
			letter.Key, letter.Value = []byte("foreign"), nil
		}
		return letter, nil
	}
	report = must(t)(d.Import(t.Context(), order(), mixed))
	require.Equal(t, 1, report.Done)
	require.Equal(t, 2, report.Skipped.Why["it is there already"].Letters)
	require.Equal(t, 5, report.Skipped.Why["it was imported before"].Letters)
	require.Len(t, pipelinetest.ReadAll(t, cluster, peopleDLQ), 9)

	fresh, n := exported(7), 0 // of which five are there
	report = must(t)(d.Import(t.Context(), order(), func() (deadletter.Letter, error) {
		if n++; n == 1 { // another import of the same in the same process
			require.Equal(t, 2, must(t)(d.Import(t.Context(), order(), exported(7))).Done)
		}
		return fresh()
	}))
	require.Zero(t, report.Done)
	require.Len(t, pipelinetest.ReadAll(t, cluster, peopleDLQ), 11)

	_, err := d.Import(t.Context(), order(), func() (deadletter.Letter, error) { return deadletter.Letter{}, io.ErrUnexpectedEOF })
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	foreign := func() (deadletter.Letter, error) { return deadletter.Letter{Topic: "elsewhere"}, nil }
	_, err = d.Import(t.Context(), order(), foreign)
	require.ErrorIs(t, err, snapshot.ErrNoTopic)
	require.ErrorContains(t, err, "elsewhere.dlq")
	runs, err := d.Runs(t.Context())
	require.NoError(t, err)
	_, err = d.Resume(t.Context(), runs[0].ID, order(), nil)
	require.ErrorContains(t, err, "import the file again")
}
