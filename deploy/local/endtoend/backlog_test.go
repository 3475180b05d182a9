package endtoend

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/deploy/local/process"
	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/deploy/local/status"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/wire"
)

// backlog is how many records wait when the consumer starts.
var backlog = flag.Int("backlog", 300_000, "records that wait for the consumer in TestABacklogFitsIntoMemory")

const (
	copies    = 5   // of each event in the backlog, far apart
	maxRSS    = 256 // MB of the consumer, whatever the backlog
	slowTurns = 20  // turns for which the broker is slow
)

// TestABacklogFitsIntoMemory: with more records waiting than memory could
// hold, ClickHouse away and the broker slow, the consumer stays small, says
// what it waits for, sets nothing aside, and goes on when it can.
func TestABacklogFitsIntoMemory(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("memory is measured by /proc")
	}
	if *servers {
		t.Skip("the broker that is slowed is the embedded one's process")
	}
	s := newStack(t, stack.Sources{Seed: 1, People: "1", Users: 1})
	_, err := s.Start(t.Context(), stack.Broker, stack.Registry, stack.ClickHouse)
	require.NoError(t, err)
	require.NoError(t, s.Prepare(t.Context()))
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Config().Addrs.Broker), kgo.ProducerBatchCompression(kgo.ZstdCompression()),
		kgo.MaxBufferedRecords(200_000), kgo.ProducerLinger(20*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	began := time.Now()
	events := fill(t, s, client, *backlog)
	t.Logf("%d records of %d events were produced in %s", *backlog, events, time.Since(began).Round(time.Second))

	_, err = s.Start(t.Context(), stack.ForecastConsumer)
	require.NoError(t, err)
	kill(t, s, stack.ClickHouse)
	require.Eventually(t, func() bool { return strings.Contains(readyz(t, s), "degraded: sink unavailable since 2") },
		time.Minute, 50*time.Millisecond, "readiness says what the consumer waits for")
	at := consumed(t, client)
	slow(t, s, stack.Broker)
	require.Contains(t, readyz(t, s), "degraded: sink unavailable since 2")
	require.Equal(t, at, consumed(t, client), "nothing is committed without ClickHouse")
	t.Logf("after ClickHouse was away the consumer has used %d MB", peak(t, s, stack.ForecastConsumer))

	_, err = s.Start(t.Context(), stack.ClickHouse)
	require.NoError(t, err)
	began = time.Now()
	slow(t, s, stack.Broker)
	require.Eventually(t, func() bool { return consumed(t, client) == int64(*backlog) },
		time.Minute+time.Duration(*backlog)*time.Millisecond, 100*time.Millisecond, "the backlog is worked off")
	rss := peak(t, s, stack.ForecastConsumer)
	t.Logf("the backlog was worked off in %s; the consumer has used %d MB", time.Since(began).Round(time.Second), rss)
	require.Less(t, rss, int64(maxRSS))
	require.Eventually(t, func() bool { return strings.Contains(readyz(t, s), `"status":"healthy"}`) }, time.Minute, 50*time.Millisecond)
	require.Zero(t, end(t, client, schemas.DLQTopic(schemas.ForecastTopic)), "an outage dead-letters nothing")
	count, err := status.Query(t.Context(), s.Config().ClickHouseURL(), "SELECT count(), uniqExact(event_id) FROM forecast_history FINAL")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%d\t%d", events, events), strings.TrimSpace(count))
}

// fill produces the backlog: each event several times, with all others between
// two of its copies.
func fill(t *testing.T, s *stack.Stack, client *kgo.Client, records int) (events int) {
	t.Helper()
	registry, err := wire.NewRegistry(s.Config().RegistryURL())
	require.NoError(t, err)
	registered, err := registry.Register(t.Context(), schemas.ForecastTopic, schemas.MustAvro(forecast.SchemaFile))
	require.NoError(t, err)
	encoder := wire.NewEncoder(forecast.Schema, registered.ID)
	amount, err := money.Parse("125000.5")
	require.NoError(t, err)
	events = records / copies
	require.Zero(t, records%copies, "-backlog must be a multiple of the copies")
	waiting := make([]kgo.Record, events)
	for i := range waiting {
		f := &forecast.Forecast{ForecastID: "net", TimePeriodID: "2026_Q1", TimeFrameID: "TF:2026-01-05", UserID: fmt.Sprint("user-", i),
			FieldID: "commit", Kind: forecast.KindForecast, Value: &amount, JobID: "job"}
		require.NoError(t, event.Seal(f, event.Upsert, time.UnixMicro(int64(i+1)), time.UnixMicro(int64(i+1)), "backlog"))
		waiting[i] = kgo.Record{Topic: schemas.ForecastTopic, Key: []byte(f.Key())}
		waiting[i].Value, err = encoder.Encode(f)
		require.NoError(t, err)
		for _, h := range event.Headers(f, "backlog", "1") {
			waiting[i].Headers = append(waiting[i].Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
		}
	}
	var failed sync.Once
	for range copies {
		for _, rec := range waiting { // the client writes into what it is given
			client.Produce(t.Context(), &rec, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Do(func() { t.Errorf("producing: %v", err) })
				}
			})
		}
	}
	require.NoError(t, client.Flush(t.Context()))
	return events
}

// slow lets a part run for a fifth of the time only.
func slow(t *testing.T, s *stack.Stack, name string) {
	t.Helper()
	pid := processID(t, s, name)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	defer func() { require.NoError(t, syscall.Kill(pid, syscall.SIGCONT)) }()
	for range slowTurns {
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		<-tick.C
		require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
		<-time.After(50 * time.Millisecond)
	}
}

func processID(t *testing.T, s *stack.Stack, name string) int {
	t.Helper()
	for _, p := range s.Processes() {
		if p.Name == name {
			return p.PID
		}
	}
	require.FailNow(t, "no such process", name)
	return 0
}

// peak is the most memory that a part has had, in MB.
func peak(t *testing.T, s *stack.Stack, name string) int64 {
	t.Helper()
	bytes := process.PeakMemory(processID(t, s, name))
	require.Positive(t, bytes)
	return bytes >> 20
}

// consumed is how many records the consumer has committed.
func consumed(t *testing.T, client *kgo.Client) (n int64) {
	t.Helper()
	offsets, err := kadm.NewClient(client).FetchOffsets(t.Context(), "revstream-forecast")
	require.NoError(t, err)
	offsets.Each(func(o kadm.OffsetResponse) { n += o.At })
	return n
}

func end(t *testing.T, client *kgo.Client, topic string) (n int64) {
	t.Helper()
	offsets, err := kadm.NewClient(client).ListEndOffsets(t.Context(), topic)
	require.NoError(t, err)
	offsets.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

// readyz is what the consumer says of itself.
func readyz(t *testing.T, s *stack.Stack) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Config().Addrs.ForecastConsumer+"/readyz", http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}
