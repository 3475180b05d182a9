package people

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// meetRun has a position meet n people, one each step.
func meetRun(p *position, n int, step time.Duration) (last time.Time) {
	for i := range n {
		last = epoch.Add(time.Duration(i) * step)
		p.meet(int64(i+1), last)
	}
	p.advance(last, last)
	return last
}

func TestPositionForgetsWhatNoLookBackReaches(t *testing.T) {
	t.Parallel()
	var p position
	last := meetRun(&p, 100, time.Second)
	p.trim(10*time.Second, last)
	require.Equal(t, last.Add(-10*time.Second), p.since(10*time.Second))
	require.Len(t, p.Recent, 11)
	require.True(t, p.meet(100, last))
	require.False(t, p.meet(100, last.Add(time.Microsecond)))
}

// TestPositionIsBounded: a burst within the overlap shortens the look-back, and each person above its floor is remembered.
func TestPositionIsBounded(t *testing.T) {
	t.Parallel()
	var p position
	last := meetRun(&p, 3*maxRecent, time.Millisecond)
	p.trim(time.Hour, last)
	require.Len(t, p.Recent, maxRecent)
	since := p.since(time.Hour)
	require.Equal(t, last.Add(-maxRecent*time.Millisecond+time.Microsecond), since)
	for i := range int64(3 * maxRecent) {
		if at := epoch.Add(time.Duration(i) * time.Millisecond); !at.Before(since) {
			require.True(t, p.meet(i+1, at))
		}
	}
	raw, err := json.Marshal(p)
	require.NoError(t, err)
	require.Less(t, len(raw), 500_000, "the state must fit into a record")
}

// TestPositionNeverAsksAboveWhatIsPassed: within a walk, all of one instant may be known while others of it are not yet.
func TestPositionNeverAsksAboveWhatIsPassed(t *testing.T) {
	t.Parallel()
	var p position
	meetRun(&p, 2*maxRecent, 0)
	p.trim(time.Hour, epoch)
	require.Len(t, p.Recent, maxRecent)
	require.False(t, p.since(time.Hour).After(epoch))

	p.trim(time.Hour, epoch.Add(time.Microsecond))
	meetRun(&p, 2*maxRecent, 0)
	p.trim(time.Hour, epoch.Add(time.Microsecond))
	require.Empty(t, p.Recent)
	require.Equal(t, epoch.Add(time.Microsecond), p.since(time.Hour), "the walk is done with that instant")
}

func TestPositionNeverStepsBackNorAhead(t *testing.T) {
	t.Parallel()
	var p position
	now := epoch.Add(time.Hour)
	p.advance(epoch.Add(2*time.Hour), now)
	require.Equal(t, now, p.Cursor, "a time in the future must not put the present behind the look-back")
	p.advance(epoch, now)
	require.Equal(t, now, p.Cursor)
}
