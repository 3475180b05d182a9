package load_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/deploy/local/faults/load"
	"github.com/revstream/revstream/deploy/local/faults/plan"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

// world is what a worker needs, and the plan that it is to publish there.
func world(t *testing.T, events int) (*pipelinetest.Cluster, load.Config, plan.Plan) {
	t.Helper()
	cluster := pipelinetest.Kafka(t, 3, plan.Topics()...)
	registryURL := pipelinetest.Registry(t)
	registry, err := wire.NewRegistry(registryURL)
	require.NoError(t, err)
	ids := make(map[string]int)
	for topic, file := range map[string]string{schemas.ForecastTopic: forecast.SchemaFile, schemas.PeopleTopic: people.SchemaFile} {
		registered, err := registry.Register(t.Context(), topic, schemas.MustAvro(file))
		require.NoError(t, err)
		ids[topic] = registered.ID
	}
	cfg := load.Config{
		Kafka:       kafkaclient.Config{Brokers: cluster.ListenAddrs(), ClientID: "load"},
		RegistryURL: secret.Ref(registryURL), Seed: 3, Events: events, Workers: 1, Checkpoint: filepath.Join(t.TempDir(), "checkpoint"),
		ForecastEvolved: 101, PeopleEvolved: 102,
	}
	return cluster, cfg, plan.Plan{
		Seed: 3, Events: events,
		Forecast: plan.SchemaIDs{Registered: ids[schemas.ForecastTopic], Evolved: 101},
		People:   plan.SchemaIDs{Registered: ids[schemas.PeopleTopic], Evolved: 102},
	}
}

func run(ctx context.Context, t *testing.T, cfg load.Config) error {
	t.Helper()
	worker, err := load.New(cfg, pipelinetest.Logger(t), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	return worker.Run(ctx)
}

// fact names what a record or a step publishes, whoever observed it.
type fact struct {
	topic, id string
	poison    plan.Fingerprint // zero for none
}

func factOf(step plan.Step) fact {
	f := fact{topic: step.Topic, id: step.Event.Head().EventID.String()}
	if step.Poison != nil {
		f.poison = plan.Print([]byte(step.Event.Key()), step.Poison.Value)
	}
	return f
}

// published counts the records of both topics by the facts that they publish.
func published(t *testing.T, cluster *pipelinetest.Cluster, m *plan.Model) map[fact]int {
	t.Helper()
	found := make(map[fact]int)
	for _, topic := range plan.Topics() {
		for _, rec := range pipelinetest.ReadAll(t, cluster, topic) {
			f := fact{topic: topic, id: header(rec, event.HeaderID)}
			if print := plan.Print(rec.Key, rec.Value); m.Topics[topic].Poison[print].Steps > 0 {
				f.poison = print
			}
			found[f]++
		}
	}
	return found
}

func header(rec *kgo.Record, name string) string {
	for _, h := range rec.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// TestWorkersPublishThePlan: two workers together publish each step once, poison as the plan has it, and all that is
// theirs by their own clocks.
func TestWorkersPublishThePlan(t *testing.T) {
	t.Parallel()
	cluster, cfg, p := world(t, 3000)
	for worker, offset := range []time.Duration{0, -time.Hour} {
		cfg := cfg
		cfg.Worker, cfg.Workers, cfg.ClockOffset = worker, 2, offset
		cfg.Checkpoint += []string{"0", "1"}[worker]
		require.NoError(t, run(t.Context(), t, cfg))
		next, err := cfg.Published()
		require.NoError(t, err)
		require.Equal(t, p.Events, next)
	}
	want := make(map[fact]int)
	observed := make(map[time.Duration]int) // offsets by which observed_at differs from the plan's
	first := make(map[fact]plan.Step)
	for _, step := range p.Steps(0, 1, 0) {
		want[factOf(step)]++
		first[factOf(step)] = step
	}
	m := p.Model()
	require.Equal(t, want, published(t, cluster, m))

	for _, rec := range pipelinetest.ReadAll(t, cluster, schemas.ForecastTopic) {
		if m.Topics[rec.Topic].Poison[plan.Print(rec.Key, rec.Value)].Steps > 0 {
			require.Equal(t, string(rec.Key), header(rec, event.HeaderSubject))
			continue
		}
		var e forecast.Forecast
		_, err := forecast.Schema.Decode(rec.Value[5:], &e)
		require.NoError(t, err)
		require.NoError(t, event.Check(&e, rec.Key))
		step := first[fact{topic: rec.Topic, id: e.EventID.String()}]
		if want[factOf(step)] == 1 {
			offset := e.ObservedAt.Sub(step.Event.Head().ObservedAt)
			observed[offset]++
			require.WithinDuration(t, time.Now().Add(offset), rec.Timestamp, time.Minute)
		}
	}
	require.Len(t, observed, 2)
	require.Greater(t, min(observed[0], observed[-time.Hour]), 500)
}

// TestGoesOnWhereItWasStopped: whenever a worker ends, what is below its checkpoint is on the topics, and what the next
// one adds makes it whole.
func TestGoesOnWhereItWasStopped(t *testing.T) {
	t.Parallel()
	cluster, cfg, p := world(t, 6000)
	cfg.Rate, cfg.Start = 4000, time.Now()
	m := p.Model()
	reached := 0
	for range 2 {
		ctx, kill := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, t, cfg) }()
		require.Eventually(t, func() bool {
			next, err := cfg.Published()
			return err == nil && next > reached
		}, time.Minute, time.Millisecond)
		kill()
		require.ErrorIs(t, <-ended, context.Canceled)
		next, err := cfg.Published()
		require.NoError(t, err)
		require.Greater(t, next, reached)
		require.Less(t, next, p.Events)
		reached = next
		found := published(t, cluster, m)
		for i := range next {
			require.NotZero(t, found[factOf(p.Step(i))], "step %d is below the checkpoint", i)
		}
	}
	require.NoError(t, run(t.Context(), t, cfg))
	require.GreaterOrEqual(t, time.Since(cfg.Start), time.Duration(p.Events-1)*time.Second/4000, "no faster than the rate")
	found := published(t, cluster, m)
	for i, step := range p.Steps(0, 1, 0) {
		require.NotZero(t, found[factOf(step)], "step %d", i)
	}
	next, err := cfg.Published()
	require.NoError(t, err)
	require.Equal(t, p.Events, next)
	require.NoError(t, run(t.Context(), t, cfg), "what is published needs nothing more")
	require.Equal(t, found, published(t, cluster, m))
}

// TestRefusedStepHoldsTheCheckpoint: a partition refuses what it is sent, while others go on.
func TestRefusedStepHoldsTheCheckpoint(t *testing.T) {
	t.Parallel()
	cluster, cfg, p := world(t, 3000)
	var refusing atomic.Bool
	refusing.Store(true)
	cluster.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req := kreq.(*kmsg.ProduceRequest)
		refused := false
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range req.Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				refused = refused || partition.Partition == 1
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.ErrorCode = partition.Partition, kerr.MessageTooLarge.Code
				answer.Partitions = append(answer.Partitions, part)
			}
			resp.Topics = append(resp.Topics, answer)
		}
		if !refusing.Load() || !refused {
			return nil, nil, false
		}
		return resp, nil, true
	})
	m := p.Model()
	require.ErrorIs(t, run(t.Context(), t, cfg), kerr.MessageTooLarge)
	next, err := cfg.Published()
	require.NoError(t, err)
	require.Less(t, next, p.Events)
	found := published(t, cluster, m)
	for i := range next {
		require.NotZero(t, found[factOf(p.Step(i))], "step %d is below the checkpoint", i)
	}
	refusing.Store(false)
	require.NoError(t, run(t.Context(), t, cfg))
	found = published(t, cluster, m)
	for i, step := range p.Steps(0, 1, 0) {
		require.NotZero(t, found[factOf(step)], "step %d", i)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := load.New(load.Config{Workers: 2, Worker: 2, Rate: 1}, pipelinetest.Logger(t), prometheus.NewRegistry())
	for _, what := range []string{"SCHEMA_REGISTRY_URL", "--events", "--worker", "--checkpoint", "--start"} {
		require.ErrorContains(t, err, what)
	}
	cfg := load.Config{RegistryURL: "http://127.0.0.1:1", Events: 10, Workers: 1, Checkpoint: filepath.Join(t.TempDir(), "c")}
	next, err := cfg.Published()
	require.NoError(t, err)
	require.Zero(t, next)
}
