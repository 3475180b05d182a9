package load

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProgressStandsAtTheFirstStepWithoutAnswer(t *testing.T) {
	t.Parallel()
	var p progress
	standing := func() int {
		t.Helper()
		next, err := p.standing()
		require.NoError(t, err)
		return next
	}
	first, second, third := p.begin(1), p.begin(4), p.begin(7)
	require.Equal(t, 1, standing())
	second(nil)
	require.Equal(t, 1, standing())
	first(nil)
	require.Equal(t, 7, standing())
	third(nil)
	require.Equal(t, 8, standing())
	require.NoError(t, p.wait(t.Context()))

	refused := errors.New("refused")
	p.begin(10)(refused)
	p.begin(13)(nil)
	next, err := p.standing()
	require.ErrorIs(t, err, refused)
	require.Equal(t, 10, next)
	require.ErrorIs(t, p.wait(t.Context()), refused)
}

func TestCheckpointIsOfOnePlanAndWorker(t *testing.T) {
	t.Parallel()
	c := checkpoint{path: filepath.Join(t.TempDir(), "checkpoint"), of: share{Seed: 1, Events: 10, Workers: 2}}
	require.NoError(t, c.write(7))
	next, err := c.read()
	require.NoError(t, err)
	require.Equal(t, 7, next)
	c.of.Worker = 1
	_, err = c.read()
	require.ErrorContains(t, err, "another plan or worker")
}
