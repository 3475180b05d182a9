package verify_test

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/consumers/service"
	"github.com/revstream/revstream/deploy/local/faults/load"
	"github.com/revstream/revstream/deploy/local/faults/plan"
	"github.com/revstream/revstream/deploy/local/faults/verify"
	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

func needKcat(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(verify.Program); err != nil {
		t.Skip(verify.ErrNoProgram)
	}
}

var groups = map[string]string{schemas.ForecastTopic: "revstream-forecast", schemas.PeopleTopic: "revstream-people"}

// world is a plan that real producers have published and real consumers have read.
type world struct {
	t                *testing.T
	cluster          *pipelinetest.Cluster
	brokers          []string
	registryURL, url string
	registry         *wire.Registry
	plan             plan.Plan
	model            *plan.Model
}

func newWorld(t *testing.T, events int) *world {
	t.Helper()
	w := newTopics(t, events)
	w.url = pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), w.url)
	require.NoError(t, err)
	return w
}

// newTopics is a world without ClickHouse.
func newTopics(t *testing.T, events int) *world {
	t.Helper()
	topics := []string{schemas.DLQDecisionsTopic}
	for _, topic := range plan.Topics() {
		topics = append(topics, topic, schemas.DLQTopic(topic))
	}
	w := &world{t: t, cluster: pipelinetest.Kafka(t, 3, topics...), registryURL: pipelinetest.Registry(t)}
	w.brokers = w.cluster.ListenAddrs()
	var err error
	w.registry, err = wire.NewRegistry(w.registryURL)
	require.NoError(t, err)
	w.plan = plan.Plan{Seed: 11, Events: events,
		Forecast: plan.SchemaIDs{Registered: w.register(schemas.ForecastTopic, schemas.MustAvro(forecast.SchemaFile)), Evolved: 3},
		People:   plan.SchemaIDs{Registered: w.register(schemas.PeopleTopic, schemas.MustAvro(people.SchemaFile)), Evolved: 4}}
	w.model = w.plan.Model()
	return w
}

func (w *world) register(topic, schema string) int {
	w.t.Helper()
	registered, err := w.registry.Register(w.t.Context(), topic, schema)
	require.NoError(w.t, err)
	return registered.ID
}

func (w *world) load() {
	w.t.Helper()
	worker, err := load.New(load.Config{
		Kafka:       kafkaclient.Config{Brokers: w.brokers, ClientID: "load"},
		RegistryURL: secret.Ref(w.registryURL), Seed: w.plan.Seed, Events: w.plan.Events, Workers: 1,
		ForecastEvolved: w.plan.Forecast.Evolved, PeopleEvolved: w.plan.People.Evolved, Checkpoint: filepath.Join(w.t.TempDir(), "checkpoint"),
	}, pipelinetest.Logger(w.t), prometheus.NewRegistry())
	require.NoError(w.t, err)
	require.NoError(w.t, worker.Run(w.t.Context()))
}

// consume starts the real consumers in this process. They stop with the test, or before.
func (w *world) consume() (stop func()) {
	t := w.t
	t.Helper()
	conn, err := clickhousesink.Open(w.url)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for _, stream := range []service.Stream{consumers.Forecast, consumers.People} {
		loop, err := stream.Loop(service.Parts{
			Consume: consume.Config{
				BatchRows: 1000, BatchBytes: 1 << 20, BatchAge: 20 * time.Millisecond, MaxValueBytes: 64 << 10,
				StopTimeout: 10 * time.Second, SessionTimeout: 6 * time.Second, RetryMax: 20 * time.Millisecond,
				PoisonShare: 1, PoisonWindow: 1000, PoisonMin: 100,
			},
			Sink: clickhousesink.Config{InsertTimeout: time.Minute}, Logger: pipelinetest.Logger(t), Metrics: prometheus.NewRegistry(),
			Registry: w.registry, Conn: conn, Letters: pipelinetest.Client(t, w.cluster, deadletter.Options()...),
		})
		require.NoError(t, err)
		client := pipelinetest.Client(t, w.cluster, loop.Options()...)
		go func() {
			err := loop.Run(ctx, client)
			client.Close()
			ended <- err
		}()
	}
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, <-ended)
		require.NoError(t, conn.Close())
	})
	t.Cleanup(stop)
	return stop
}

// drained waits until the groups have committed the ends of the topics, and returns what they have committed.
func (w *world) drained() verify.Committed {
	w.t.Helper()
	admin := kadm.NewClient(pipelinetest.Client(w.t, w.cluster))
	committed := make(verify.Committed)
	require.Eventually(w.t, func() bool {
		left := false
		for topic, group := range groups {
			offsets, err := admin.FetchOffsets(w.t.Context(), group)
			if err != nil {
				return false // the group is not there yet
			}
			ends, err := admin.ListEndOffsets(w.t.Context(), topic)
			require.NoError(w.t, err)
			committed[topic] = make(map[int32]int64)
			ends.Each(func(end kadm.ListedOffset) {
				at, ok := offsets.Lookup(topic, end.Partition)
				committed[topic][end.Partition] = at.At
				left = left || !ok || at.At < end.Offset
			})
		}
		return !left
	}, time.Minute, 20*time.Millisecond)
	return committed
}

// replay puts letters of a reason back; with a patch if one is given.
func (w *world) replay(topic, reason, patch string) {
	w.t.Helper()
	order := desk.Order{Action: desk.Replay, Selection: desk.Selection{Topics: []string{topic}, Reasons: []string{reason}}, Why: "test", StopShare: 1}
	if patch != "" {
		order.Action, order.Change = desk.Repair, &desk.Change{Patch: json.RawMessage(patch)}
	}
	d := desk.New(desk.Config{Changer: changer{payload.NewReader(w.registry)}}, pipelinetest.Logger(w.t), pipelinetest.Client(w.t, w.cluster),
		func() (*kgo.Client, error) { return pipelinetest.Client(w.t, w.cluster, desk.Options()...), nil })
	defer d.Close()
	report, err := d.Run(w.t.Context(), order, nil)
	require.NoError(w.t, err)
	require.Zero(w.t, report.Skipped.Letters+report.Failed.Letters+report.Parked)
	require.NotZero(w.t, report.Done)
}

// changer is a reader of values as the desk has it.
type changer struct{ reader *payload.Reader }

func (c changer) Change(ctx context.Context, change desk.Change, letter deadletter.Letter) (deadletter.Letter, string, error) {
	return c.reader.Repair(ctx, change.Patch, change.Headers, letter)
}

func (w *world) warehouse(repaired bool) verify.Rows {
	w.t.Helper()
	rows, err := verify.Warehouse(w.t.Context(), w.url, w.model, repaired)
	require.NoError(w.t, err)
	return rows
}

func (w *world) letters(repaired bool) verify.Mail {
	w.t.Helper()
	mail, err := verify.Letters(w.t.Context(), w.brokers, w.model, repaired)
	require.NoError(w.t, err)
	return mail
}
