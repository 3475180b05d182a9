package web

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/dlq-replayer/board"
	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

// list is the answer of /api/letters.
type list struct {
	Letters []board.Row
	Next    string
	Total   int
	Partial bool
}

func (br *browser) letters(query string) (l list) {
	br.t.Helper()
	got := br.get("/api/letters?" + query)
	require.Equal(br.t, http.StatusOK, got.status, got.text)
	got.into(br.t, &l)
	return l
}

func TestLettersAreListedAndCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.people(7)
	b.write(b.person(8, wire.ReasonCorrupt))
	br := b.signedIn(viewerToken)

	all := br.letters("limit=5")
	require.Equal(t, 8, all.Total)
	require.Len(t, all.Letters, 5)
	require.Equal(t, "salesloft:8", all.Letters[0].Key, "the newest first")
	rest := br.letters("limit=5&cursor=" + all.Next)
	require.Len(t, rest.Letters, 3)
	require.Empty(t, rest.Next)
	require.Equal(t, "salesloft:1", rest.Letters[2].Key)

	require.Equal(t, 1, br.letters("class=corrupt_value").Total)
	require.Equal(t, []string{"salesloft:1", "salesloft:2"}, keysOf(br.letters("order=oldest&limit=2")))
	found := br.letters(`where=value.person_id==3`)
	require.Equal(t, []string{"salesloft:3"}, keysOf(found))
	require.Zero(t, br.letters(`where=value.first_name=="Zebedee"`).Total, "viewers see personal data masked")
	require.Equal(t, 8, br.letters("header=ce_specversion=1.0").Total)
	require.Zero(t, br.letters("header=ce_specversion=2.0").Total)

	var histogram struct {
		Buckets []board.Bucket
		Reasons []string
	}
	br.get("/api/histogram?buckets=4").into(t, &histogram)
	require.Len(t, histogram.Buckets, 4)
	require.Equal(t, []string{"corrupt_value", "validation"}, histogram.Reasons)
	counted := 0
	for _, bucket := range histogram.Buckets {
		for _, n := range bucket.Counts {
			counted += n
		}
	}
	require.Equal(t, 8, counted)

	var stats struct {
		States  map[string]int
		Letters int
		Ready   bool
		Topics  []struct {
			Topic, Reason string
			Open          int
		}
	}
	br.get("/api/stats").into(t, &stats)
	require.Equal(t, 8, stats.Letters)
	require.Equal(t, 8, stats.States[desk.Open])
	require.Equal(t, 7, stats.Topics[1].Open)

	for query, want := range map[string]string{
		"state=lost": "state must be", "since=yesterday": "since must be a time", "limit=0": "limit must be", "reason=x": `there is no field`,
		"order=up": "order must be", "cursor=x": "begin again", "header=x": "header must be", "where=value.": "where:", "partition=-1": "partition must be",
	} {
		got := br.get("/api/letters?" + query)
		require.Equal(t, http.StatusBadRequest, got.status, query)
		require.Contains(t, got.text, want)
	}
}

func keysOf(l list) (keys []string) {
	for _, row := range l.Letters {
		keys = append(keys, row.Key)
	}
	return keys
}

func TestALetterIsShownMaskedUntilItIsRevealed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write(b.person(2, wire.ReasonValidation), b.person(4, wire.ReasonCorrupt))
	looks := b.signedIn(viewerToken)
	person, broken := "/api/letters/"+looks.letters("key=salesloft:2").Letters[0].ID.String(), "/api/letters/"+looks.letters("key=salesloft:4").Letters[0].ID.String()

	got := looks.get(person)
	require.Equal(t, http.StatusOK, got.status, got.text)
	require.NotContains(t, got.text, "Zebedee")
	var shown detail
	got.into(t, &shown)
	require.Equal(t, "salesloft:2", shown.Key)
	require.True(t, shown.Masked)
	require.Contains(t, string(shown.Value), `"first_name":"[masked]"`)
	require.Len(t, shown.Failures, 1)

	cut := looks.get(broken)
	require.NotContains(t, cut.text, "5a656265646565", "hex of Zebedee")
	cut.into(t, &shown)
	require.Contains(t, shown.Undecodable, "corrupt_value")
	require.NotNil(t, shown.UndecodableAt)

	for path, want := range map[string]int{
		person + "?reveal=true&reason=x": http.StatusForbidden,
		letterPath(99):                   http.StatusNotFound,
		"/api/letters/revenue.x/0/0":     http.StatusNotFound,
		"/api/letters/revenue.x/0/zero":  http.StatusBadRequest,
	} {
		require.Equal(t, want, looks.get(path).status, path)
	}
	acts := b.signedIn(operatorToken)
	require.Equal(t, http.StatusBadRequest, acts.get(person+"?reveal=true").status, "a reason is required")
	require.Empty(t, pipelinetest.ReadAll(t, b.cluster, schemas.DLQDecisionsTopic), "nothing was revealed so far")
	require.Contains(t, acts.get(person+"?reveal=true&reason=complaint").text, `"first_name":"Zebedee"`)
	require.NoError(t, b.server.board.Refresh(t.Context()))
	audit := looks.get("/api/audit")
	require.Contains(t, audit.text, `"what":"revealed","reason":"complaint"`)
	require.Contains(t, audit.text, `"by":"operator (token)","from":"127.0.0.1"`)
}

func TestAnOrderIsPlannedAndCarriedOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.people(6)
	br := b.signedIn(operatorToken)
	order := map[string]any{"action": "replay", "selection": map[string]any{"keys": []string{"salesloft:1", "salesloft:2"}}, "rate": 0.5}
	var plan struct {
		Done, Parked, Total int
		Reasons             map[string]map[string]int
		Seconds             float64 `json:"seconds_at_rate"`
	}
	got := b.signedIn(viewerToken).post("/api/plan", order)
	require.Equal(t, http.StatusOK, got.status, got.text)
	got.into(t, &plan)
	require.Equal(t, 2, plan.Done)
	require.InDelta(t, 4, plan.Seconds, 0)
	require.Equal(t, map[string]map[string]int{schemas.PeopleTopic: {"validation": 2}}, plan.Reasons)
	require.Empty(t, pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic), "a plan writes nothing")

	delete(order, "rate")
	require.Contains(t, br.post("/api/runs", order).text, "a reason is required")
	order["reason"] = "mended"
	run := b.run(br, order)
	require.Equal(t, deadletter.Done, run.Status)
	require.Equal(t, 2, run.Done)
	require.Equal(t, "replay", run.Action)
	require.Len(t, pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic), 2)
	require.Equal(t, 4, br.letters("").Total)
	require.Equal(t, 2, br.letters("state=replayed").Total)

	run = b.run(br, map[string]any{"action": "repair", "reason": "a name", "selection": map[string]any{"keys": []string{"salesloft:3"}}, "change": map[string]any{"patch": map[string]any{"first_name": "Ermintrude"}}})
	require.Equal(t, 1, run.Done, run.Note)
	require.Contains(t, string(run.Order), "Ermintrude")
	looks := b.signedIn(viewerToken)
	for _, path := range []string{"/api/runs", "/api/audit"} {
		require.NotContains(t, looks.get(path).text, "Ermintrude", "what was written into a value is masked for viewers")
		require.Contains(t, br.get(path).text, "Ermintrude")
	}

	for text, want := range map[string]string{
		`{"action":"burn"}`:                                                 "not what can be done",
		`{"action":"repair","reason":"x"}`:                                  "needs a patch",
		`{"action":"replay","selektion":{}}`:                                "selektion",
		`{"action":"replay","selection":{"where":"("}}`:                     "1:1",
		`{"action":"replay","selection":{"where":"true","reveal":true}}`:    "masked",
		`{"action":"repair","change":{"patch":[1]},"reason":"x"}`:           "object",
		`{"action":"replay","selection":{"ids":["revenue.people.v1/0/x"]}}`: "is not the ID",
		`{"action":"replay"} {}`:                                            "more than one",
	} {
		for _, path := range []string{"/api/plan", "/api/runs"} {
			got := br.postText(path, text)
			require.Equal(t, http.StatusBadRequest, got.status, text)
			require.Contains(t, got.text, want)
		}
	}
	got = br.post("/api/runs", map[string]any{"action": "replay", "reason": "x", "selection": map[string]any{"ids": []string{"revenue.people.v1/0/999"}}})
	require.Equal(t, http.StatusNotFound, got.status, got.text)
}

// TestTwoOperatorsAtOnce: each letter is acted on once, and both see both runs.
func TestTwoOperatorsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.people(200)
	both := []*browser{b.signedIn(operatorToken), b.signedIn(operatorToken)}
	ids := make(chan string, 2)
	for _, br := range both {
		go func() {
			var started struct {
				RunID string `json:"run_id"`
			}
			got := br.post("/api/runs", map[string]any{"action": "replay", "reason": "mended", "rate": 2000, "selection": map[string]any{}})
			if json.Unmarshal([]byte(got.text), &started) != nil {
				started.RunID = got.text
			}
			ids <- started.RunID
		}()
	}
	first, second := <-ids, <-ids
	require.NotEqual(t, first, second)
	a, z := b.ended(both[0], first), b.ended(both[1], second)
	require.Equal(t, 200, a.Done+z.Done, "%+v %+v", a, z)
	require.Len(t, pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic), 200)
	for _, br := range both {
		require.Len(t, br.runs(), 2)
	}
}

// TestARunOutlivesItsBrowser, is seen by another, stops when it is told to, and is resumed.
func TestARunOutlivesItsBrowser(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.people(100)
	br, other := b.signedIn(operatorToken), b.signedIn(operatorToken)
	stream := other.stream()
	stream.event("letters", func(text string) bool { return text == `{"open":100,"letters":100}` })
	var started struct {
		RunID string `json:"run_id"`
	}
	br.post("/api/runs", map[string]any{"action": "replay", "reason": "mended", "rate": 20, "selection": map[string]any{}}).into(t, &started)
	br.client.CloseIdleConnections()
	run := stream.run(func(run shownRun) bool { return run.ID == started.RunID && run.Done > 0 && run.Done < 100 })
	require.True(t, run.Mine)
	require.Equal(t, 100, run.Total)
	require.Equal(t, http.StatusAccepted, other.post("/api/runs/"+started.RunID+"/stop", map[string]any{}).status)
	run = stream.run(func(run shownRun) bool { return run.ID == started.RunID && run.Status == deadletter.Interrupted })
	require.Less(t, run.Done, 100)
	require.Equal(t, http.StatusNotFound, other.post("/api/runs/"+started.RunID+"/stop", map[string]any{}).status, "it has ended")

	b.ended(other, started.RunID)
	require.Equal(t, http.StatusBadRequest, other.post("/api/runs/"+started.RunID+"/resume", map[string]any{"reason": " "}).status)
	require.Equal(t, http.StatusNotFound, other.post("/api/runs/none/resume", map[string]any{"reason": "x"}).status)
	got := other.post("/api/runs/"+started.RunID+"/resume", map[string]any{"reason": "go on"})
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	run = stream.run(func(run shownRun) bool { return run.ID == started.RunID && run.Status == deadletter.Done })
	require.Equal(t, 100, run.Done)
	require.Len(t, pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic), 100)
	b.until("the page shows it", func() bool { return other.letters("").Total == 0 })
}

// TestAStopInterruptsRuns that another process can then resume.
func TestAStopInterruptsRuns(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.people(100)
	br := b.signedIn(operatorToken)
	stream := br.stream()
	got := br.post("/api/runs", map[string]any{"action": "replay", "reason": "mended", "rate": 10, "selection": map[string]any{}})
	require.Equal(t, http.StatusAccepted, got.status, got.text)
	stream.run(func(run shownRun) bool { return run.Done > 0 })
	b.stop()
	require.NoError(t, b.server.board.Refresh(t.Context()))
	runs := b.server.board.Runs()
	require.Len(t, runs, 1)
	require.Equal(t, deadletter.Interrupted, runs[0].Status)
	replayed := pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic)
	require.Len(t, replayed, runs[0].Done)
	require.Less(t, len(replayed), 100)
}

// events are what /api/events sends.
type events struct {
	t     *testing.T
	lines *bufio.Scanner
}

func (br *browser) stream() *events {
	br.t.Helper()
	ctx, cancel := context.WithTimeout(br.t.Context(), patience)
	br.t.Cleanup(cancel)
	resp, err := br.client.Do(br.request(http.MethodGet, "/api/events", nil).WithContext(ctx))
	require.NoError(br.t, err)
	br.t.Cleanup(func() { _ = resp.Body.Close() })
	require.Equal(br.t, "text/event-stream", resp.Header.Get("Content-Type"))
	return &events{br.t, bufio.NewScanner(resp.Body)}
}

// event waits for one of a name.
func (e *events) event(name string, wanted func(string) bool) string {
	e.t.Helper()
	at := ""
	for e.lines.Scan() {
		line := e.lines.Text()
		if event, ok := strings.CutPrefix(line, "event: "); ok {
			at = event
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok && at == name && wanted(data) {
			return data
		}
	}
	require.Fail(e.t, "the stream ended before the event "+name)
	return ""
}

func (e *events) run(wanted func(shownRun) bool) (run shownRun) {
	e.t.Helper()
	e.event("run", func(text string) bool {
		run = shownRun{}
		require.NoError(e.t, json.Unmarshal([]byte(text), &run))
		return wanted(run)
	})
	return run
}
