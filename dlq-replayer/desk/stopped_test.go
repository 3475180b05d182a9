package desk

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

// ruined is a sink that takes nothing.
type ruined struct{ why error }

var poisoned = ruined{&wire.InvalidError{Class: wire.ReasonUnknownSchema, Message: "the registry does not know the schema"}}

func (r ruined) NewBatch() consume.Batch { return r }

func (r ruined) Add(context.Context, *kgo.Record) error { return r.why }

func (ruined) Store(context.Context) ([]consume.Refused, error) { return nil, nil }

// consumer starts one of people, and says how it ends.
func consumer(t *testing.T, cluster *pipelinetest.Cluster, group, protocol string, sink consume.Sink, share float64) (ended chan error, stop func()) {
	t.Helper()
	letters := deadletter.NewWriter(pipelinetest.Client(t, cluster, deadletter.Options()...), group, "v1")
	loop, err := consume.New(consume.Config{
		Topic: schemas.PeopleTopic, Group: group, GroupProtocol: protocol,
		BatchRows: 100, BatchBytes: 1 << 20, BatchAge: 20 * time.Millisecond, MaxValueBytes: 1 << 20,
		StopTimeout: 10 * time.Second, SessionTimeout: 6 * time.Second, RetryMax: 10 * time.Millisecond,
		PoisonShare: share, PoisonWindow: 10, PoisonMin: 3,
	}, pipelinetest.Logger(t), prometheus.NewRegistry(), sink, letters)
	require.NoError(t, err)
	client := pipelinetest.Client(t, cluster, loop.Options()...)
	ctx, cancel := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	go func() {
		err := loop.Run(ctx, client)
		client.Close()
		ended <- err
	}()
	stop = func() {
		cancel()
		err := <-ended
		ended <- err
	}
	t.Cleanup(stop)
	return ended, stop
}

func TestAConsumerThatItsCapHasStoppedIsShown(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{consume.ProtocolClassic, consume.ProtocolConsumer} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			cluster := pipelinetest.Kafka(t, 2, topics...)
			d := newDesk(t, cluster)
			stopped := func() []Stopped {
				found, err := d.Stopped(t.Context())
				require.NoError(t, err)
				return found
			}
			require.Empty(t, stopped(), "there are no groups at all")
			consumeAll(t.Context(), t, cluster, func(*kgo.Record) bool { return false }) // it is well, and not shown
			producer := pipelinetest.Client(t, cluster, kgo.RecordPartitioner(kgo.ManualPartitioner()))
			for range 4 {
				require.NoError(t, producer.ProduceSync(t.Context(), &kgo.Record{Topic: schemas.PeopleTopic, Partition: 1, Value: []byte("x")}).FirstErr())
			}
			ended, _ := consumer(t, cluster, "ruined", protocol, poisoned, 0.5)
			err := <-ended
			ended <- err
			require.ErrorAs(t, err, new(*consume.PoisonCapError))

			found := stopped()
			require.Len(t, found, 1)
			require.WithinDuration(t, time.Now(), found[0].At, time.Minute)
			require.Contains(t, found[0].Advice, "SCHEMA_REGISTRY_URL")
			require.Contains(t, found[0].Advice, "start the consumer again")
			found[0].At, found[0].Advice = time.Time{}, ""
			require.Equal(t, []Stopped{{Group: "ruined", Topic: schemas.PeopleTopic, Partition: 1, Reason: wire.ReasonUnknownSchema, Poison: 3, Window: 3}}, found)

			_, stop := consumer(t, cluster, "ruined", protocol, ruined{errors.New("away")}, 0.5)
			require.Eventually(t, func() bool { found = stopped(); return len(found) == 1 && found[0].Members == 1 }, 30*time.Second, 10*time.Millisecond)
			require.Contains(t, found[0].Advice, "The group has members")
			stop()

			_, stop = consumer(t, cluster, "ruined", protocol, poisoned, 1) // as the advice says
			require.Eventually(t, func() bool { return len(stopped()) == 0 }, 30*time.Second, 10*time.Millisecond)
			stop()
		})
	}
}

// TestGroupsThatMayNotBeLookedAtAreLeftOut, and another error is one.
func TestGroupsThatMayNotBeLookedAtAreLeftOut(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	pipelinetest.NeedKfake(t)
	d := newDesk(t, cluster)
	note := kadm.Offsets{schemas.PeopleTopic: {0: {Topic: schemas.PeopleTopic, Metadata: `{"stopped_by_cap_at":"2026-03-01T12:00:00Z","reason":"odd"}`}}}
	for _, group := range []string{"a", "b"} {
		require.NoError(t, kadm.NewClient(d.client).CommitAllOffsets(t.Context(), group, note))
	}
	found, err := d.Stopped(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.Contains(t, found[0].Advice, "in common")
	refused := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "a", Err: kerr.GroupAuthorizationFailed, Count: -1})
	found, err = d.Stopped(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "b", found[0].Group)
	refused.Remove()
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListGroups}, Err: kerr.ClusterAuthorizationFailed, Count: -1, TopLevel: true})
	_, err = d.Stopped(t.Context())
	require.ErrorContains(t, err, "listing the consumer groups")
}
