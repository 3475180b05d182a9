package secret_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"gocloud.dev/runtimevar"
	"gocloud.dev/runtimevar/constantvar"

	"github.com/revstream/revstream/pipeline/secret"
)

// A request is refused before the watcher has noticed the rotation: with a watcher that never notices.
func TestRenewReadsTheSourceAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	write(t, path, "one\n")
	v := open(t, secret.Ref("file://"+path))
	require.NoError(t, v.StopWatching())
	require.Equal(t, "one", v.Renew(t.Context(), "one"), "there is no other")
	require.Equal(t, "one", v.Renew(t.Context(), "older"), "the present one is another already")

	write(t, path+".new", "two\n")
	require.NoError(t, os.Rename(path+".new", path))
	require.Equal(t, "one", v.Get())
	require.Equal(t, "two", v.Renew(t.Context(), "one"))
	require.Equal(t, "two", v.Get())

	write(t, path, "\n")
	require.Equal(t, "two", v.Renew(t.Context(), "two"), "never an empty one")
	require.NoError(t, os.Remove(path))
	require.Equal(t, "two", v.Renew(t.Context(), "two"), "nor none")
	require.Equal(t, "plain", open(t, "plain").Renew(t.Context(), "plain"))
}

// manager is a secret manager: manager://<name of the test>. Who has opened it hears of no rotation until he asks anew,
// as with those of the clouds, which are polled seldom.
type manager struct {
	value atomic.Value // a string; "stalls" makes it answer nobody
	reads atomic.Int64
}

var managers sync.Map // name of the test to *manager

type opener struct{}

func (opener) OpenVariableURL(ctx context.Context, u *url.URL) (*runtimevar.Variable, error) {
	found, _ := managers.Load(u.Host)
	m := found.(*manager)
	m.reads.Add(1)
	value := m.value.Load().(string)
	if value == "stalls" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return constantvar.New(value), nil
}

func openManager(t *testing.T) (*secret.Value, *manager) {
	t.Helper()
	m := &manager{}
	m.value.Store("one")
	managers.Store(t.Name(), m)
	return open(t, secret.Ref("manager://"+t.Name())), m
}

func TestRenewIsSingleFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, m := openManager(t)
		for _, next := range []string{"two", "two"} { // a rotation, and then nothing new
			<-time.After(time.Minute)
			before, refused := m.reads.Load(), v.Get()
			m.value.Store("stalls")
			ctx, giveUp := context.WithCancel(t.Context())
			var all sync.WaitGroup
			all.Go(func() { _ = v.Renew(ctx, refused) })
			synctest.Wait()
			for range 50 {
				all.Go(func() { _ = v.Renew(t.Context(), refused) })
			}
			synctest.Wait()
			m.value.Store(next)
			giveUp() // which must not be the failure of those who wait
			all.Wait()
			require.Equal(t, next, v.Get())
			require.Equal(t, before+2, m.reads.Load(), "the reading that was given up, and one")
		}
	})
}

func TestRenewIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, m := openManager(t)
		m.value.Store("stalls")
		start := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { _ = v.Renew(t.Context(), "one") })
		}
		all.Wait()
		require.Equal(t, 10*time.Second, time.Since(start), "for each, however many wait")
		require.Equal(t, "one", v.Get())
	})
}

func TestAcceptedKeepsTheReplacedValueForTheOverlap(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	write(t, path, "one")
	v := open(t, secret.Ref("file://"+path))
	require.NoError(t, v.StopWatching())
	require.Equal(t, []string{"one"}, v.Accepted(time.Hour))
	for _, next := range []string{"two", "three"} {
		write(t, path, next)
		require.Equal(t, next, v.Renew(t.Context(), v.Get()))
	}
	require.Equal(t, []string{"three", "two"}, v.Accepted(time.Hour))
	require.Equal(t, "three", v.Renew(t.Context(), "three"))
	require.Equal(t, []string{"three", "two"}, v.Accepted(time.Hour), "what is read again replaces nothing")
	require.Equal(t, []string{"three"}, v.Accepted(time.Nanosecond))
	require.Equal(t, []string{"three"}, v.Accepted(0))
}

func TestAgeIsThatOfTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	write(t, path, "one")
	hundredDays := time.Now().Add(-100 * 24 * time.Hour)
	require.NoError(t, os.Chtimes(path, hundredDays, hundredDays))
	v := open(t, secret.Ref("file://"+path))
	require.WithinDuration(t, hundredDays, v.ChangedAt(), time.Second)

	reg := prometheus.NewRegistry()
	require.NoError(t, secret.Register(reg, "API_KEY", v))
	require.NoError(t, secret.Register(reg, "PLAIN", open(t, "hunter2")))
	require.Error(t, secret.Register(reg, "PLAIN", v))
	metrics, err := reg.Gather()
	require.NoError(t, err)
	require.Len(t, metrics, 1)
	require.Equal(t, "revstream_secret_age_seconds", metrics[0].GetName())
	ages := map[string]float64{}
	for _, m := range metrics[0].GetMetric() {
		ages[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
	}
	require.InDelta(t, 100*24*3600, ages["API_KEY"], 60)
	require.InDelta(t, 0, ages["PLAIN"], 60)
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}
