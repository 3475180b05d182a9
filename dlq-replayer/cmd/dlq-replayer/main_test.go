package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

// TestMain runs this binary again as the program: signals and exit codes are a process's.
func TestMain(m *testing.M) {
	if os.Getenv("REVSTREAM_TEST_PROGRAM") != "" {
		main()
		return
	}
	pipelinetest.Main(m)
}

var version = time.Date(2026, 2, 3, 4, 5, 6, 789_012_000, time.UTC)

// bench is a broker and a registry with three dead letters: a person that fails validation, one whose bytes are cut,
// and one that a mended consumer would take.
type bench struct {
	cluster  *pipelinetest.Cluster
	registry string
	schema   int // its ID
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cluster := pipelinetest.Kafka(t, 1, schemas.PeopleTopic, schemas.DLQTopic(schemas.PeopleTopic), schemas.DLQDecisionsTopic)
	b := &bench{cluster: cluster, registry: pipelinetest.Registry(t)}
	registry, err := wire.NewRegistry(b.registry)
	require.NoError(t, err)
	schema, err := registry.Register(t.Context(), schemas.PeopleTopic, schemas.MustAvro(people.SchemaFile))
	require.NoError(t, err)
	b.schema = schema.ID
	b.fail(t, "people-consumer",
		b.person(t, 1, version.Add(time.Second), 0, wire.ReasonValidation),
		b.person(t, 2, version, 3, wire.ReasonCorrupt),
		b.person(t, 3, version, 0, wire.ReasonUnknownSchema))
	return b
}

// person is a record that a consumer gave up, with so many bytes cut off.
func (b *bench) person(t *testing.T, id int64, updated time.Time, cut int, reason string) consume.Poison {
	t.Helper()
	name := "Zebedee"
	p := &people.Person{PersonID: id, FirstName: &name, UpdatedAt: &updated}
	require.NoError(t, event.Seal(p, event.Upsert, version, version, "run"))
	value, err := wire.NewEncoder(people.Schema, b.schema).Encode(p)
	require.NoError(t, err)
	rec := &kgo.Record{Topic: schemas.PeopleTopic, Offset: id, Timestamp: version, Key: []byte(p.Key()), Value: value[:len(value)-cut]}
	for _, h := range event.Headers(p, "/salesloft", "1") {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
	}
	return consume.Poison{Record: rec, Stage: consume.StageDecode, Reason: reason, Message: "a field is wrong", Failed: time.Now().Add(-2 * time.Hour)}
}

// fail writes dead letters as a consumer does.
func (b *bench) fail(t *testing.T, group string, letters ...consume.Poison) {
	t.Helper()
	client := pipelinetest.Client(t, b.cluster, deadletter.Options()...)
	_, err := deadletter.NewWriter(client, group, "v1").Write(t.Context(), letters)
	require.NoError(t, err)
}

// stop leaves with a group what a consumer does that its cap stops.
func (b *bench) stop(t *testing.T, group string) {
	t.Helper()
	note, err := json.Marshal(consume.CapNote{At: time.Now().Add(-time.Minute), Reason: wire.ReasonUnknownSchema, Poison: 60, Window: 100})
	require.NoError(t, err)
	var stopped kadm.Offsets
	stopped.Add(kadm.Offset{Topic: schemas.PeopleTopic, Partition: 0, At: 0, LeaderEpoch: -1, Metadata: string(note)})
	committed, err := kadm.NewClient(pipelinetest.Client(t, b.cluster)).CommitOffsets(t.Context(), group, stopped)
	require.NoError(t, err)
	require.NoError(t, committed.Error())
}

// many writes n letters that can be replayed.
func (b *bench) many(t *testing.T, n int) {
	t.Helper()
	letters := make([]consume.Poison, n)
	for i := range letters {
		letters[i] = b.person(t, int64(100+i), version, 0, wire.ReasonUnknownSchema)
	}
	b.fail(t, "people-consumer", letters...)
}

// shell runs command lines as the program does, within the test's process.
type shell struct {
	stdin    io.Reader
	width    int  // of the terminal that stdout is
	terminal bool // stderr is one
	stderr   bytes.Buffer
}

func (b *bench) flags(args ...string) []string {
	return append(args, "--kafka-brokers="+strings.Join(b.cluster.ListenAddrs(), ","), "--schema-registry-url="+b.registry)
}

func (b *bench) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return b.in(t, new(shell), args...)
}

func (b *bench) in(t *testing.T, sh *shell, args ...string) (string, error) {
	t.Helper()
	return b.with(t.Context(), t, sh, b.flags(args...)...)
}

func (b *bench) with(ctx context.Context, t *testing.T, sh *shell, args ...string) (string, error) {
	t.Helper()
	var s settings
	parser, err := kong.New(&s, vars, kong.Vars{"http_addr": "", "version": "1", "kafka_client_id": name}, secret.KongOption())
	require.NoError(t, err)
	parsed, err := parser.Parse(args)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	c := &console{
		logger: slog.New(slog.DiscardHandler), in: sh.stdin, out: &out, err: &sh.stderr,
		width: sh.width, terminal: sh.terminal, by: "ops", from: "here",
	}
	stop, err := s.open(ctx, c)
	if err != nil {
		return "", err
	}
	defer stop()
	command, _, _ := strings.Cut(parsed.Command(), " ")
	err = s.commands()[command].run(ctx, c)
	c.strange.tell(c.err)
	return out.String(), err
}

// process is the program as a process of its own.
type process struct {
	*exec.Cmd
	stdout, stderr lockedBuffer
}

// lockedBuffer may be read while the process writes.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *bench) start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0], b.flags(args...)...)}
	p.Env = append(os.Environ(), "REVSTREAM_TEST_PROGRAM=1")
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill() }) // it has ended, unless the test has failed
	return p
}

// code waits for the end of the process.
func (p *process) code() int {
	_ = p.Wait() // the state says the same
	return p.ProcessState.ExitCode()
}

func id(offset int64) desk.ID { return desk.ID{Topic: schemas.PeopleTopic, Offset: offset} }

// replayed are the keys on the topic, in order.
func (b *bench) replayed(t *testing.T) []string {
	t.Helper()
	keys := []string{}
	for _, rec := range pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic) {
		keys = append(keys, string(rec.Key))
	}
	return keys
}
