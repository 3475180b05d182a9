package resilience_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/resilience"
)

var errDown = errors.New("connection refused")

func TestForeverRetriesAndTellsOfTheOutage(t *testing.T) {
	t.Parallel()
	var availability resilience.Availability
	var seen []resilience.Outage
	cfg := resilience.ForeverConfig{Backoff: fast.Backoff, Observe: func(o resilience.Outage) {
		seen = append(seen, o)
		availability.Observe(o)
	}}
	tries := 0
	err := resilience.Forever(t.Context(), cfg, quiet, "sink", func(ctx context.Context) error {
		tries++
		_, checkErr := availability.Check(ctx)
		if tries == 1 {
			require.NoError(t, checkErr)
		} else {
			require.ErrorContains(t, checkErr, "sink unavailable since 20")
			require.ErrorIs(t, checkErr, errDown)
		}
		if tries < 10 {
			return errDown
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 10, tries)
	require.Len(t, seen, 10, "of each try, as the cause may change")
	require.ErrorIs(t, seen[0].Err, errDown)
	require.NoError(t, seen[9].Err)
	require.Equal(t, seen[0].Since, seen[9].Since)
	_, err = availability.Check(t.Context())
	require.NoError(t, err)
}

func TestForeverStopsAtAPermanentError(t *testing.T) {
	t.Parallel()
	errSyntax := errors.New("syntax error")
	cfg := resilience.ForeverConfig{Backoff: fast.Backoff, Permanent: func(err error) bool { return errors.Is(err, errSyntax) }}
	tries := 0
	err := resilience.Forever(t.Context(), cfg, quiet, "sink", func(context.Context) error {
		if tries++; tries == 3 {
			return errSyntax
		}
		return errDown
	})
	require.ErrorIs(t, err, errSyntax)
	require.Equal(t, 3, tries)
}

func TestForeverEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := resilience.ForeverConfig{
		Backoff: resilience.Backoff{Base: time.Hour, Max: time.Hour},
		Observe: func(resilience.Outage) { cancel() }, // just before the wait of an hour
	}
	err := resilience.Forever(ctx, cfg, quiet, "sink", func(context.Context) error { return errDown })
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errDown)
}

// An op that has done its work while the context ended has done it.
func TestForeverReportsSuccessAtTheLastMoment(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	err := resilience.Forever(ctx, resilience.ForeverConfig{}, quiet, "sink", func(context.Context) error {
		cancel()
		return nil
	})
	require.NoError(t, err)
}
