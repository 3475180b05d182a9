package anomaly_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/anomaly"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas/alert"
)

// steps counts the calls of a run to ClickHouse and to the topic, and ends one of them with an error: before it is carried out, or
// after. Whatever follows fails, too, as the process is dead.
type steps struct {
	at    int64 // the one that fails; 0 for none
	after bool
	made  atomic.Int64
}

var errDead = errors.New("the process died")

// next counts a call. do says to carry it out, answer to tell of it.
func (s *steps) next() (do, answer bool) {
	n := s.made.Add(1)
	switch {
	case s.at == 0 || n < s.at:
		return true, true
	case n == s.at:
		return s.after, false
	}
	return false, false
}

// proxy stands before ClickHouse.
func (s *steps) proxy(t *testing.T, database string) string {
	t.Helper()
	target, err := url.Parse(database)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		do, answer := s.next()
		if err != nil || !do {
			panic(http.ErrAbortHandler)
		}
		req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, target.Scheme+"://"+target.Host+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		req.Header = r.Header.Clone()
		resp, err := client.Do(req)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || !answer {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(text) // the client may be gone
	}))
	t.Cleanup(server.Close)
	return server.URL + target.Path
}

// Publish implements anomaly.Alerts before those that are given.
func (s *dying) Publish(ctx context.Context, alerts []*alert.Alert) error {
	do, answer := s.next()
	var err error
	if do {
		err = s.alerts.Publish(ctx, alerts)
	}
	if !answer {
		return errDead
	}
	return err
}

type dying struct {
	*steps
	alerts anomaly.Alerts
}

// state is what a run leaves: reviews by what they are of, and the event IDs that subscribers know.
func (w *world) state() (reviews, events []string) {
	w.t.Helper()
	ids := map[uuid.UUID]bool{}
	for _, a := range w.alerts() {
		ids[a.EventID] = true
	}
	for _, r := range w.list(true) {
		reviews = append(reviews, r.Scope+" "+r.UserID+r.HierarchyID+" "+r.State)
	}
	slices.Sort(reviews)
	return reviews, []string{fmt.Sprint(len(ids), " of which open ", len(w.list(false)))}
}

// TestARunMayDieAtEveryStep, and the next one does what is left: each review is there once, is told of under one event ID, and is
// told of before its row is there. With few reviews, and with a storm.
func TestARunMayDieAtEveryStep(t *testing.T) {
	t.Parallel()
	pipelinetest.NeedKfake(t) // each try has a broker of its own
	for name, c := range map[string]struct{ limit, reviews int }{"reviews": {10, 4}, "storm": {2, 5}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shared := newWorld(t)
			try := func(t *testing.T, s *steps) (w *world, err error) {
				t.Helper()
				own := *shared
				own.t = t
				own.cluster = pipelinetest.Kafka(t, 1, "revenue.alerts.v1")
				own.publisher, err = anomaly.OpenPublisher(t.Context(), pipelinetest.Client(t, own.cluster), own.registry)
				require.NoError(t, err)
				for _, table := range []string{"forecast_anomalies", "anomaly_runs", "forecast_history", "forecast_current"} {
					pipelinetest.SQL(t, own.url, "TRUNCATE TABLE "+table)
				}
				cfg := defaults()
				cfg.Storm = c.limit
				own.put(version{user: "a", amount: "10000", place: "p1", above: "p0"}, version{user: "b", amount: "10000", place: "p2", above: "p0"}, version{user: "c", amount: "10000"})
				require.Empty(t, own.run(cfg))
				own.put(version{user: "a", amount: "50000", place: "p1", above: "p0"}, version{user: "b", amount: "60000", place: "p2", above: "p0"}, version{user: "c", amount: "5000"})

				conn, err := clickhousesink.Open(s.proxy(t, own.url))
				require.NoError(t, err)
				defer conn.Close()
				d, err := anomaly.New(cfg, pipelinetest.Logger(t), anomaly.Deps{Conn: conn, Alerts: &dying{steps: s, alerts: own.publisher}})
				require.NoError(t, err)
				_, err = d.Run(t.Context())
				// What has a row has been told of.
				known := map[uuid.UUID]bool{}
				for _, a := range own.alerts() {
					known[a.AlertID] = true
				}
				for _, r := range own.list(false) {
					require.True(t, known[r.ID])
				}
				if err == nil {
					return &own, nil
				}
				require.NotContains(t, err.Error(), "10000")
				// What comes meanwhile is of the next window: it would make another sum of this one.
				own.put(version{user: "b", amount: "60001", place: "p2", above: "p0"})
				own.run(cfg)
				return &own, err
			}
			clean := &steps{}
			w, err := try(t, clean)
			require.NoError(t, err)
			reviews, events := w.state()
			require.Len(t, reviews, c.reviews)
			t.Logf("%d steps: %v, %v", clean.made.Load(), reviews, events)
			for at := int64(1); at <= clean.made.Load(); at++ {
				for _, after := range []bool{false, true} {
					w, err := try(t, &steps{at: at, after: after})
					require.Error(t, err, "step %d", at)
					got, told := w.state()
					require.Equal(t, reviews, got, "step %d, after: %t", at, after)
					require.Equal(t, events, told, "step %d, after: %t", at, after)
				}
			}
		})
	}
}
