package consume_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/resilience"
)

// answered is an error with a class.
type answered struct{ class resilience.Class }

func (a answered) Error() string           { return "answer: " + string(a.class) }
func (a answered) Class() resilience.Class { return a.class }

// TestAnOutageIsMeasured by what is away and what ends it, as of the last try,
// and no longer than it lasts: the alerts go by it.
func TestAnOutageIsMeasured(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, "value")
	m := newMember(t, seen)
	var now atomic.Value // what storing fails with
	now.Store(fmt.Errorf("inserting: %w", answered{resilience.Unknown}))
	var back atomic.Bool
	m.onStore = func(context.Context, []kgo.Record) error {
		if back.Load() {
			return nil
		}
		return now.Load().(error)
	}
	reg := prometheus.NewRegistry()
	loop, err := consume.New(m.cfg, pipelinetest.Logger(t), reg, m, m)
	require.NoError(t, err)
	m.loop = loop
	client := pipelinetest.Client(t, cluster, loop.Options()...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	began := time.Now().Truncate(time.Second)
	go func() { ended <- loop.Run(ctx, client) }()

	// outage returns the labels of the one that is shown.
	outage := func() string {
		families, err := reg.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() != "revstream_consume_outage_timestamp_seconds" {
				continue
			}
			require.Len(t, f.GetMetric(), 1)
			since := time.Unix(int64(f.GetMetric()[0].GetGauge().GetValue()), 0)
			require.False(t, since.Before(began) || since.After(time.Now()), since)
			var labels []string
			for _, l := range f.GetMetric()[0].GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			return strings.Join(labels, " ")
		}
		return ""
	}
	until(t, func() bool { return outage() == "class=unknown topic=events what=sink" }, "an answer that nobody knows")
	now.Store(fmt.Errorf("writing: %w", kerr.TopicAuthorizationFailed))
	until(t, func() bool { return outage() == "class=operator topic=events what=sink" }, "the last try counts")
	require.ErrorContains(t, m.check(), kerr.TopicAuthorizationFailed.Message)
	back.Store(true)
	until(t, func() bool { return outage() == "" }, "the outage is over")
	cancel()
	require.NoError(t, <-ended)
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}
