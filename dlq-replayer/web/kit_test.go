package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

const (
	operatorToken = "operator-token-of-the-test"
	viewerToken   = "viewer-token-of-the-test"
	patience      = 20 * time.Second
)

var version = time.Date(2026, 2, 3, 4, 5, 6, 789_012_000, time.UTC)

// bench is a page over a broker and a registry.
type bench struct {
	t        *testing.T
	cluster  *pipelinetest.Cluster
	registry string
	schema   int
	server   *Server
	base     string // URL
	stop     func() // stops the server, and waits
}

// newBench serves a page with both tokens, unless change says otherwise.
func newBench(t *testing.T, change ...func(*Config, *Deps)) *bench {
	t.Helper()
	b := &bench{t: t, registry: pipelinetest.Registry(t)}
	b.cluster = pipelinetest.Kafka(t, 2, schemas.PeopleTopic, schemas.DLQTopic(schemas.PeopleTopic), schemas.ForecastTopic,
		schemas.DLQTopic(schemas.ForecastTopic), schemas.DLQDecisionsTopic)
	registry, err := wire.NewRegistry(b.registry)
	require.NoError(t, err)
	schema, err := registry.Register(t.Context(), schemas.PeopleTopic, schemas.MustAvro(people.SchemaFile))
	require.NoError(t, err)
	b.schema = schema.ID

	values := payload.NewReader(registry)
	compile := func(where string, reveal bool) (desk.Match, error) { return payload.Compile(values)(where, reveal) }
	client := pipelinetest.Client(t, b.cluster)
	engine := desk.New(desk.Config{Compile: compile, Changer: changer{values}}, pipelinetest.Logger(t), client, func() (*kgo.Client, error) {
		return kgo.NewClient(append(desk.Options(), kgo.SeedBrokers(b.cluster.ListenAddrs()...))...)
	})
	t.Cleanup(engine.Close)
	cfg := Config{
		Addr: "127.0.0.1:0", OperatorToken: operatorToken, ViewerToken: viewerToken,
		OIDCRoleClaim: "groups", SessionIdle: 30 * time.Minute, SessionMax: 8 * time.Hour,
	}
	deps := Deps{Desk: engine, Kafka: client, Values: values, Compile: compile, Registerer: prometheus.NewRegistry(), Version: "test"}
	for _, f := range change {
		f(&cfg, &deps)
	}
	if deps.Secrets == nil {
		deps.Secrets, err = cfg.Open(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, deps.Secrets.Close()) })
	}
	b.server, err = New(cfg, pipelinetest.Logger(t), deps)
	require.NoError(t, err)
	b.serve()
	return b
}

func (b *bench) serve() {
	listener, err := b.server.Listen(b.t.Context())
	require.NoError(b.t, err)
	b.base = "http://" + listener.Addr().String()
	b.serveOn(listener)
}

func (b *bench) serveOn(listener net.Listener) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- b.server.Serve(ctx, listener) }()
	stopped := false
	b.stop = func() {
		if cancel(); !stopped {
			stopped = true
			require.NoError(b.t, <-done)
		}
	}
	b.t.Cleanup(b.stop)
}

// changer is what the program wires.
type changer struct{ values *payload.Reader }

func (c changer) Change(ctx context.Context, change desk.Change, letter deadletter.Letter) (deadletter.Letter, string, error) {
	return c.values.Repair(ctx, change.Patch, change.Headers, letter)
}

// person is the i-th, whose update failed i minutes after version.
func (b *bench) person(i int64, reason string) consume.Poison {
	name := "Zebedee"
	p := &people.Person{PersonID: i, FirstName: &name, UpdatedAt: &version}
	require.NoError(b.t, event.Seal(p, event.Upsert, version, version, "run"))
	value, err := wire.NewEncoder(people.Schema, b.schema).Encode(p)
	require.NoError(b.t, err)
	rec := &kgo.Record{Topic: schemas.PeopleTopic, Partition: int32(i % 2), Offset: i, Timestamp: version, Key: []byte(p.Key()), Value: value}
	for _, h := range event.Headers(p, "/salesloft", "1") {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
	}
	if reason == wire.ReasonCorrupt {
		rec.Value = value[:len(value)-3]
	}
	return consume.Poison{Record: rec, Stage: consume.StageDecode, Reason: reason, Message: "a field is wrong", Failed: version.Add(time.Duration(i) * time.Minute)}
}

// write writes dead letters, and waits until the page shows them.
func (b *bench) write(letters ...consume.Poison) {
	b.t.Helper()
	client := pipelinetest.Client(b.t, b.cluster, deadletter.Options()...)
	_, err := deadletter.NewWriter(client, "people-consumer", "v1").Write(b.t.Context(), letters)
	require.NoError(b.t, err)
	require.NoError(b.t, b.server.board.Refresh(b.t.Context()))
}

func (b *bench) people(n int) {
	letters := make([]consume.Poison, n)
	for i := range letters {
		letters[i] = b.person(int64(i+1), wire.ReasonValidation)
	}
	b.write(letters...)
}

// browser is somebody's.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
	csrf   string
}

func (b *bench) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(b.t, err)
	transport := &http.Transport{}
	b.t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &browser{t: b.t, base: b.base, client: client}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   string
}

// into reads the answer as JSON.
func (a answer) into(t *testing.T, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(a.text), v), a.text)
}

func (br *browser) do(req *http.Request) answer {
	br.t.Helper()
	resp, err := br.client.Do(req)
	require.NoError(br.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(br.t, err)
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (br *browser) request(method, path string, body io.Reader) *http.Request {
	br.t.Helper()
	req, err := http.NewRequestWithContext(br.t.Context(), method, br.base+path, body)
	require.NoError(br.t, err)
	return req
}

func (br *browser) get(path string) answer {
	br.t.Helper()
	return br.do(br.request(http.MethodGet, path, nil))
}

// post sends JSON as the page does.
func (br *browser) post(path string, body any) answer {
	br.t.Helper()
	text, err := json.Marshal(body)
	require.NoError(br.t, err)
	return br.postText(path, string(text))
}

func (br *browser) postText(path, text string) answer {
	br.t.Helper()
	req := br.request(http.MethodPost, path, strings.NewReader(text))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(csrfHeader, br.csrf)
	req.Header.Set("Origin", br.base)
	return br.do(req)
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// enter sends the form with a token.
func (br *browser) enter(token string) answer {
	br.t.Helper()
	found := csrfField.FindStringSubmatch(br.get("/sign-in").text)
	require.Len(br.t, found, 2)
	form := url.Values{"csrf": {found[1]}, "token": {token}}
	req := br.request(http.MethodPost, "/sign-in", bytes.NewReader([]byte(form.Encode())))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return br.do(req)
}

// signedIn is a browser of an operator or a viewer.
func (b *bench) signedIn(token string) *browser {
	b.t.Helper()
	br := b.browser()
	got := br.enter(token)
	require.Equal(b.t, http.StatusSeeOther, got.status, got.text)
	require.Equal(b.t, "/", got.header.Get("Location"))
	var me struct{ CSRF string }
	br.get("/api/me").into(b.t, &me)
	br.csrf = me.CSRF
	return br
}

// until waits for a condition.
func (b *bench) until(what string, condition func() bool) {
	b.t.Helper()
	late := time.After(patience)
	for tick := time.NewTicker(10 * time.Millisecond); !condition(); {
		select {
		case <-late:
			require.Fail(b.t, "waiting until "+what)
		case <-tick.C:
		}
	}
}

// run starts a run, waits until it has ended and returns it.
func (b *bench) run(br *browser, order map[string]any) shownRun {
	b.t.Helper()
	got := br.post("/api/runs", order)
	require.Equal(b.t, http.StatusAccepted, got.status, got.text)
	var started struct {
		RunID string `json:"run_id"`
	}
	got.into(b.t, &started)
	return b.ended(br, started.RunID)
}

func (b *bench) ended(br *browser, id string) (run shownRun) {
	b.t.Helper()
	b.until("run "+id+" has ended", func() bool {
		run = br.runs()[id]
		return run.ID == id && !run.Mine && run.Status != deadletter.Running
	})
	require.NoError(b.t, b.server.board.Refresh(b.t.Context()))
	return br.runs()[id]
}

func (br *browser) runs() map[string]shownRun {
	br.t.Helper()
	var list struct{ Runs []shownRun }
	br.get("/api/runs").into(br.t, &list)
	by := map[string]shownRun{}
	for _, run := range list.Runs {
		by[run.ID] = run
	}
	return by
}

func letterPath(offset int) string {
	return fmt.Sprintf("/api/letters/%s/0/%d", schemas.PeopleTopic, offset)
}
