package chaos_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/producers/chaos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api answers everything with JSON of size bytes and counts what has had its effect.
type api struct {
	size    int
	effects atomic.Int64
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	a.effects.Add(1)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	for left := a.size - 2; left > 0; left -= 1000 {
		if left == a.size-2 {
			_, _ = io.WriteString(w, `"`)
		}
		if _, err := io.WriteString(w, strings.Repeat("x", min(left, 1000))); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, `"`)
}

func refuse(w http.ResponseWriter, _ *http.Request, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"error":"no"}`)
}

type world struct {
	*api
	*chaos.Handler
	t   *testing.T
	srv *httptest.Server
}

func start(t *testing.T, cfg chaos.Config) *world {
	t.Helper()
	a := &api{size: 300}
	h, err := chaos.New(cfg, a, refuse)
	require.NoError(t, err)
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	srv.Client().Transport.(*http.Transport).DisableKeepAlives = true // or the client itself repeats what a reset idle connection lost
	return &world{a, h, t, srv}
}

// outcome is what a client sees of a request.
type outcome struct {
	status int
	typ    string
	header http.Header
	length int64
	body   string
	err    error // of the request or of reading the body
}

func (w *world) do(method, path string) (o outcome) {
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.srv.URL+path, strings.NewReader("{}"))
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer good")
	resp, err := w.srv.Client().Do(req)
	if err != nil {
		return outcome{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return outcome{resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header, resp.ContentLength, string(b), err}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	t.Parallel()
	_, err := chaos.New(chaos.Config{Reset: -1, HTML: 1.5, Stall: math.NaN(), AfterEffect: 2, Max: -1, RetryAfter: "soon"}, &api{}, refuse)
	for _, want := range []string{"reset -1", "html 1.5", "stall NaN", "afterEffect 2", "Max, StallFor", `RetryAfter "soon"`} {
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, chaos.Config{Reset: 0.6, HTML: 0.6}.Validate(), "at most 1")
}

func TestJSONOfAConfig(t *testing.T) {
	t.Parallel()
	cfg := chaos.Config{Seed: 7}
	require.NoError(t, json.Unmarshal([]byte(`{"html":0.1,"StallFor":"5s","Max":3,"RateLimited":0.25}`), &cfg))
	require.Equal(t, chaos.Config{HTML: 0.1, StallFor: 5 * time.Second, Max: 3, RateLimited: 0.25, Seed: 7}, cfg)
	text, err := json.Marshal(cfg)
	require.NoError(t, err)
	var again chaos.Config
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, cfg, again)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"HTLM":0.1}`), &cfg), "HTLM")
	require.ErrorContains(t, json.Unmarshal([]byte(`{"StallFor":"long"}`), &cfg), "StallFor")
}

func TestWhatAClientSees(t *testing.T) {
	t.Parallel()
	whole := func(o outcome) bool { return o.err == nil && len(o.body) == 300 }
	for kind, c := range map[chaos.Kind]struct {
		cfg  chaos.Config
		want map[string]func(outcome) bool // each form is seen, and nothing else
	}{
		chaos.RateLimited: {chaos.Config{RateLimited: 1, RetrySecs: 7}, map[string]func(outcome) bool{
			"none":    func(o outcome) bool { return o.status == 429 && o.header.Get("Retry-After") == "" },
			"seconds": func(o outcome) bool { return o.status == 429 && o.header.Get("Retry-After") == "7" },
			"date": func(o outcome) bool {
				at, err := http.ParseTime(o.header.Get("Retry-After"))
				return o.status == 429 && err == nil && time.Until(at) > 5*time.Second && time.Until(at) <= 8*time.Second
			},
		}},
		chaos.ServerError: {chaos.Config{ServerError: 1}, map[string]func(outcome) bool{
			"500": func(o outcome) bool { return o.status == 500 && o.body == `{"error":"no"}` },
			"502": func(o outcome) bool { return o.status == 502 },
			"503": func(o outcome) bool { return o.status == 503 },
			"504": func(o outcome) bool { return o.status == 504 },
		}},
		chaos.Reset: {chaos.Config{Reset: 1}, map[string]func(outcome) bool{
			"reset": func(o outcome) bool { return errors.Is(o.err, syscall.ECONNRESET) },
		}},
		chaos.HTML: {chaos.Config{HTML: 1}, map[string]func(outcome) bool{
			"200": func(o outcome) bool { return o.status == 200 && strings.HasPrefix(o.body, "<!DOCTYPE html>") },
			"502": func(o outcome) bool { return o.status == 502 && strings.HasPrefix(o.typ, "text/html") },
		}},
		chaos.WrongType: {chaos.Config{WrongType: 1}, map[string]func(outcome) bool{
			"text":   func(o outcome) bool { return whole(o) && strings.HasPrefix(o.typ, "text/plain") },
			"binary": func(o outcome) bool { return whole(o) && o.typ == "application/octet-stream" },
			"html":   func(o outcome) bool { return whole(o) && o.typ == "text/html" },
		}},
		chaos.HalfBody: {chaos.Config{HalfBody: 1}, map[string]func(outcome) bool{
			"length": func(o outcome) bool {
				return o.length == 300 && errors.Is(o.err, io.ErrUnexpectedEOF) && len(o.body) == 150
			},
			"chunks": func(o outcome) bool {
				return o.length == -1 && errors.Is(o.err, io.ErrUnexpectedEOF) && len(o.body) == 150
			},
		}},
		chaos.Stall: {chaos.Config{Stall: 1, StallFor: time.Millisecond}, map[string]func(outcome) bool{
			"head": func(o outcome) bool { return whole(o) && o.length == 300 },
			"body": func(o outcome) bool { return whole(o) && o.length == -1 }, // flushed on its way
		}},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := start(t, c.cfg)
			seen := map[string]int{}
			for range 40 {
				o := w.do(http.MethodGet, "/x")
				form := ""
				for name, is := range c.want {
					if is(o) {
						form = name
					}
				}
				require.NotEmpty(t, form, "%+v", o)
				seen[form]++
			}
			require.Len(t, seen, len(c.want), "every form")
			require.Equal(t, map[chaos.Kind]int{kind: 40}, w.Done())
		})
	}
}

func TestStallLastsUntilTheClientGoes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) { // both forms of both methods; the server's Close waits for its handlers
		w := start(t, chaos.Config{Stall: 1, StallFor: time.Hour, AfterEffect: 0.5, Seed: seed})
		w.srv.Client().Timeout = 50 * time.Millisecond
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			var late interface{ Timeout() bool }
			o := w.do(method, "/x")
			require.ErrorAs(t, o.err, &late)
			require.True(t, late.Timeout())
		}
	}
}

func TestLongAnswersAreTornSomewhere(t *testing.T) {
	t.Parallel()
	w := start(t, chaos.Config{HalfBody: 1})
	w.size = 1 << 20
	lengths := map[int]bool{}
	for range 20 {
		o := w.do(http.MethodGet, "/x")
		require.ErrorIs(t, o.err, io.ErrUnexpectedEOF)
		require.Less(t, len(o.body), w.size)
		lengths[len(o.body)] = true
	}
	require.Greater(t, len(lengths), 3)
}

func TestGoodCredentialsAreNeverRefusedTwiceInARow(t *testing.T) {
	t.Parallel()
	w := start(t, chaos.Config{Unauthorized: 1})
	for i := range 6 {
		require.Equal(t, []int{401, 200}[i%2], w.do(http.MethodGet, "/x").status)
	}
}

func TestEffects(t *testing.T) {
	t.Parallel()
	for _, after := range []float64{0, 0.5, 1} {
		w := start(t, chaos.Config{
			Reset: 0.2, HTML: 0.2, ServerError: 0.2, HalfBody: 0.2, RateLimited: 0.1, Unauthorized: 0.1, AfterEffect: after, Seed: 1,
		})
		answered := 0
		for i := range 200 {
			if o := w.do(http.MethodPost, "/"+strconv.Itoa(i)); o.status == 200 && len(o.body) == 300 && o.err == nil {
				answered++
			}
		}
		lost := int(w.effects.Load()) - answered
		t.Logf("afterEffect %v: %d answered, %d answers lost", after, answered, lost)
		if after == 0 {
			require.Zero(t, lost)
		} else {
			require.InDelta(t, 160*after, lost, 35)
		}
	}
}

func TestSeedAndNumberDecide(t *testing.T) {
	t.Parallel()
	run := func(w *world) (all []string) {
		for range 60 {
			o := w.do(http.MethodGet, "/x")
			all = append(all, fmt.Sprint(o.status, o.typ, len(o.body), o.err != nil))
		}
		return all
	}
	cfg := chaos.Config{Reset: 0.1, HTML: 0.1, ServerError: 0.1, HalfBody: 0.1, Seed: 5}
	one := start(t, cfg)
	first := run(one)
	require.Equal(t, first, run(start(t, cfg)))
	require.NoError(t, one.Set(cfg))
	require.Equal(t, first, run(one))
	cfg.Seed++
	require.NotEqual(t, first, run(start(t, cfg)))
}

func TestMaxEndsIt(t *testing.T) {
	t.Parallel()
	w := start(t, chaos.Config{ServerError: 1, Max: 3})
	for range 3 {
		require.GreaterOrEqual(t, w.do(http.MethodGet, "/x").status, 500)
	}
	for range 5 {
		require.Equal(t, 200, w.do(http.MethodGet, "/x").status)
	}
}
