package publish_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/wire"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

func open(t *testing.T, cluster *pipelinetest.Cluster, register bool, opts ...kgo.Opt) (*publish.Publisher, *wire.Registry, *prometheus.Registry, error) {
	t.Helper()
	registry, err := wire.NewRegistry(pipelinetest.Registry(t))
	require.NoError(t, err)
	reg := prometheus.NewRegistry()
	cfg := publish.Config{Topic: schemas.ExportRunsTopic, Source: "/clari", SchemaFile: exportrun.SchemaFile, Register: register, Version: "v1.2"}
	client := pipelinetest.Client(t, cluster, opts...)
	p, err := publish.Open(t.Context(), cfg, client, registry, reg, slog.New(slog.DiscardHandler))
	return p, registry, reg, err
}

func run(t *testing.T, id string) *exportrun.ExportRun {
	t.Helper()
	r := &exportrun.ExportRun{RunID: id, Source: "clari", OfEntity: "forecast", Outcome: exportrun.Succeeded, RequestedAt: time.Unix(1, 0), CompletedAt: time.Unix(2, 0)}
	require.NoError(t, event.Seal(r, event.Upsert, time.Unix(1_700_000_000, 0), time.Unix(1_700_000_001, 0), "correlation"))
	return r
}

func TestEventArrivesAsItWas(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ExportRunsTopic)
	p, registry, _, err := open(t, cluster, true)
	require.NoError(t, err)
	want := run(t, "clari:1")
	require.NoError(t, p.Publish(t.Context(), want))
	require.NoError(t, p.Flush(t.Context()))
	records := pipelinetest.ReadAll(t, cluster, schemas.ExportRunsTopic)
	require.Len(t, records, 1)
	var got exportrun.ExportRun
	require.NoError(t, wire.NewDecoder(exportrun.Schema, registry).Decode(t.Context(), records[0].Value, &got))
	require.NoError(t, event.Check(&got, records[0].Key))
	require.Equal(t, want.EventID, got.EventID)
	var headers []event.Header
	for _, h := range records[0].Headers {
		headers = append(headers, event.Header{Key: h.Key, Value: string(h.Value)})
	}
	require.Equal(t, event.Headers(want, "/clari", "1"), headers)
}

func TestEventThatIsNotPublishableIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ExportRunsTopic)
	p, _, reg, err := open(t, cluster, true)
	require.NoError(t, err)
	const personal = "ann@example.com "
	for name, change := range map[string]func(*exportrun.ExportRun){
		"not sealed":     func(r *exportrun.ExportRun) { r.Envelope = event.Envelope{} },
		"sealed as else": func(r *exportrun.ExportRun) { r.RunID = "clari:2" },
		"not valid":      func(r *exportrun.ExportRun) { r.Source = "" },
		"not in schema":  func(r *exportrun.ExportRun) { r.Outcome = personal },
		"too large":      func(r *exportrun.ExportRun) { r.Scope = strings.Repeat(personal, 80_000) },
		"just too large": func(r *exportrun.ExportRun) { r.Scope = strings.Repeat("x", 999_500) },
	} {
		e := run(t, "clari:1")
		change(e)
		err := p.Publish(t.Context(), e)
		require.ErrorIs(t, err, publish.ErrInvalid, name)
		require.ErrorContains(t, err, schemas.ExportRunsTopic, name)
		require.ErrorContains(t, err, e.EventID.String(), name)
		require.NotContains(t, err.Error(), personal, name)
	}
	require.NoError(t, p.Flush(t.Context()), "who was told need not be told again")
	require.Empty(t, pipelinetest.ReadAll(t, cluster, schemas.ExportRunsTopic))
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP revstream_publish_failures_total Events that were not published.
# TYPE revstream_publish_failures_total counter
revstream_publish_failures_total{topic="revenue.export-runs.v1"} 6
`), "revstream_publish_failures_total"))
}

// TestLargestEventFits: the estimate that refuses must not be far from what a batch holds.
func TestLargestEventFits(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ExportRunsTopic)
	p, _, _, err := open(t, cluster, true)
	require.NoError(t, err)
	e := run(t, "clari:1")
	e.Scope = strings.Repeat("x", 998_500)
	require.NoError(t, p.Publish(t.Context(), e))
	require.NoError(t, p.Flush(t.Context()))
}

// refuse answers produce requests with an error that no retry mends, as long as on says so.
func refuse(cluster *pipelinetest.Cluster, on func() bool) {
	cluster.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !on() {
			return nil, nil, false
		}
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

func TestFlushTellsTheFirstFailureOnce(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ExportRunsTopic)
	p, _, _, err := open(t, cluster, true)
	require.NoError(t, err)
	var mu sync.Mutex
	refusing := true
	refuse(cluster, func() bool { mu.Lock(); defer mu.Unlock(); return refusing })
	first := run(t, "clari:1")
	require.NoError(t, p.Publish(t.Context(), first))
	err = p.Flush(t.Context())
	require.ErrorIs(t, err, kerr.TopicAuthorizationFailed)
	require.ErrorContains(t, err, first.EventID.String())
	require.ErrorContains(t, err, schemas.ExportRunsTopic)
	mu.Lock()
	refusing = false
	mu.Unlock()
	require.NoError(t, p.Flush(t.Context()))
	require.NoError(t, p.Publish(t.Context(), first))
	require.NoError(t, p.Flush(t.Context()))
	require.Len(t, pipelinetest.ReadAll(t, cluster, schemas.ExportRunsTopic), 1)
}

func TestPublishFuncTellsOfEachEvent(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ExportRunsTopic)
	p, _, _, err := open(t, cluster, true)
	require.NoError(t, err)
	var mu sync.Mutex
	refusing := false
	refuse(cluster, func() bool { mu.Lock(); defer mu.Unlock(); return refusing })
	for _, fail := range []bool{false, true} {
		mu.Lock()
		refusing = fail
		mu.Unlock()
		answers := make(chan error, 1)
		require.NoError(t, p.PublishFunc(t.Context(), run(t, "clari:1"), func(err error) { answers <- err }))
		if err := <-answers; fail {
			require.ErrorIs(t, err, kerr.TopicAuthorizationFailed)
		} else {
			require.NoError(t, err)
		}
		require.NoError(t, p.Flush(t.Context()))
	}
}

// TestFlushWaitsForAcknowledgement: not before the broker has answered, and no longer than its context.
func TestFlushWaitsForAcknowledgement(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ExportRunsTopic)
	p, _, _, err := open(t, cluster, true)
	require.NoError(t, err)
	arrived, answer := make(chan struct{}), make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(arrived)
		cluster.SleepControl(func() { <-answer })
		return nil, nil, false
	})
	require.NoError(t, p.Publish(t.Context(), run(t, "clari:1")))
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Flush(ctx), context.DeadlineExceeded)
	close(answer)
	require.NoError(t, p.Flush(t.Context()))
	require.Len(t, pipelinetest.ReadAll(t, cluster, schemas.ExportRunsTopic), 1)
}

func TestOpenNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, _, _, err := open(t, pipelinetest.Kafka(t, 1, "another"), true)
	require.ErrorIs(t, err, snapshot.ErrNoTopic)
	require.EqualError(t, err, "revenue.export-runs.v1: topic does not exist: create it with `provision`")
	_, _, _, err = open(t, pipelinetest.Kafka(t, 1, schemas.ExportRunsTopic), false)
	require.ErrorContains(t, err, schemas.Subject(schemas.ExportRunsTopic))
}

// TestARejectedRecordIsADeadLetter, whole if a topic can hold it, and acknowledged by the next Flush.
func TestARejectedRecordIsADeadLetter(t *testing.T) {
	t.Parallel()
	dlq := schemas.DLQTopic(schemas.ExportRunsTopic)
	cluster := pipelinetest.Kafka(t, 1, schemas.ExportRunsTopic, dlq)
	p, _, reg, err := open(t, cluster, true)
	require.NoError(t, err)
	reason := errors.Join(errors.New(`field "a" is no number`), errors.New(`field "b" is missing`))
	raw := []byte(`{"id":7,"a":"x"}`)
	require.NoError(t, p.Reject(t.Context(), publish.Rejection{Key: "clari:7", Raw: raw, Reason: "validation", Err: reason, CorrelationID: "run"}))
	require.NoError(t, p.Flush(t.Context()))
	require.NoError(t, p.Reject(t.Context(), publish.Rejection{Raw: []byte(strings.Repeat("x", 2<<20)), Reason: "too_large", Err: reason}))
	require.NoError(t, p.Flush(t.Context()))

	records := pipelinetest.ReadAll(t, cluster, dlq)
	require.Len(t, records, 2)
	letter, err := deadletter.Parse(records[0])
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), letter.LastFailure, time.Minute)
	require.Equal(t, letter.LastFailure, letter.Timestamp)
	require.Equal(t, deadletter.Letter{
		Topic: schemas.ExportRunsTopic, OriginalPartition: -1, OriginalOffset: -1, Timestamp: letter.Timestamp,
		Key: []byte("clari:7"), Value: raw,
		Headers: []kgo.RecordHeader{
			{Key: "ce_source", Value: []byte("/clari")}, {Key: "content-type", Value: []byte("application/json")},
			{Key: "correlation-id", Value: []byte("run")},
		},
		Reason: "validation", Message: `field "a" is no number; field "b" is missing`, Stage: "produce", Version: "v1.2",
		Attempts: 1, FirstFailure: letter.LastFailure, LastFailure: letter.LastFailure, CorrelationID: "run",
	}, letter)
	huge, err := deadletter.Parse(records[1])
	require.NoError(t, err)
	require.Empty(t, huge.Value)
	require.Nil(t, huge.Key)
	require.Contains(t, huge.Message, "its 2097152 bytes are too large for a topic and were left out")
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP revstream_publish_rejections_total Records of the source that the brokers have acknowledged as dead letters.
# TYPE revstream_publish_rejections_total counter
revstream_publish_rejections_total{topic="revenue.export-runs.v1"} 2
`), "revstream_publish_rejections_total"))

	refuse(cluster, func() bool { return true })
	require.NoError(t, p.Reject(t.Context(), publish.Rejection{Raw: raw, Reason: "validation", Err: reason}))
	err = p.Flush(t.Context())
	require.ErrorIs(t, err, kerr.TopicAuthorizationFailed)
	require.ErrorContains(t, err, dlq)
}
