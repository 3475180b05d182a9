package claritest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// document is what a job's results list.
type document struct {
	Entries     []Key
	Users       []struct{ UserID string }
	Fields      []struct{ FieldID string }
	TimePeriods []struct{ TimePeriodID string }
}

func (s *Simulator) document(t *testing.T, now *time.Time) (d document) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(s.download(t, s.finished(t, now, `{"includeHistorical":true}`))), &d))
	return d
}

func TestResultsThatAreNotAsTheyShouldBe(t *testing.T) {
	t.Parallel()
	s, now := simulator(t, Config{Users: 3, UnknownRefs: 4, MorePeriods: 2})
	d := s.document(t, now)
	known := map[string]bool{}
	for _, u := range d.Users {
		known[u.UserID] = true
	}
	for _, f := range d.Fields {
		known[f.FieldID] = true
	}
	users, fields := 0, 0
	for _, k := range d.Entries {
		require.Equal(t, "2024_Q3", k.TimePeriodID)
		if !known[k.UserID] {
			users++
		}
		if !known[k.FieldID] {
			fields++
		}
	}
	require.Equal(t, []int{2, 2}, []int{users, fields})
	require.Equal(t, "[{2024_Q3} {2024_Q2} {2024_Q1}]", fmt.Sprint(d.TimePeriods))

	s, now = simulator(t, Config{Users: 3, EmptyResults: true})
	d = s.document(t, now)
	require.Empty(t, d.Entries)
	require.Len(t, d.Users, 3)
	require.Zero(t, s.State(Scope{}).Entries)
}

func TestQuotaRecovers(t *testing.T) {
	t.Parallel()
	s, now := simulator(t, Config{Users: 1})
	const start, limits = "/v4/export/forecast/forecast", "/v4/admin/limits"
	s.do(t, 200, "POST", "/_sim/quota", `{"availableMonthlyQuota":0,"requests":3}`)
	require.Contains(t, s.do(t, 200, "GET", limits, ""), `"availableMonthlyQuota":0`)
	require.Contains(t, s.do(t, 400, "POST", start, ""), "export_monthly_quota_reached")
	s.do(t, 400, "POST", start, "")
	s.do(t, 200, "POST", start, "")
	require.Contains(t, s.do(t, 200, "GET", limits, ""), `"availableMonthlyQuota":999`)

	none := 0
	require.NoError(t, s.SetQuota(Quota{AvailableConcurrentLimit: &none, Until: now.Add(time.Minute)}))
	s.do(t, 400, "POST", start, "")
	*now = now.Add(time.Minute)
	s.do(t, 200, "POST", start, "")
	require.Error(t, s.SetQuota(Quota{AvailableConcurrentLimit: &none}))
}

func TestKeys(t *testing.T) {
	t.Parallel()
	ask := func(s *Simulator, key, path string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("apikey", key)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	s, _ := simulator(t, Config{SayExpired: true, V1: true})
	for _, step := range []struct {
		good []string
		key  string
		want string
	}{
		{nil, "k", `{"jobs"`},
		{nil, "other", "Invalid authentication credentials"},
		{[]string{"k", "k2"}, "k", `{"jobs"`},
		{nil, "k2", `{"jobs"`},
		{[]string{"k2"}, "k", "API key has expired"},
		{nil, "other", "Invalid authentication credentials"},
	} {
		if step.good != nil {
			require.NoError(t, s.SetAPIKeys(step.good...))
		}
		_, body := ask(s, step.key, "/v4/admin/limits")
		require.Contains(t, body, step.want)
	}
	for path, want := range map[string]string{"/v1/forecast/types": `"forecastId":"forecast"`, "/v1/admin/limits": `"jobs"`, "/v4/forecast/types": "no Route"} {
		_, body := ask(s, "k2", path)
		require.Contains(t, body, want)
	}
	require.Error(t, s.SetAPIKeys())

	s, _ = simulator(t, Config{NoPermission: true})
	status, body := ask(s, "k", "/v4/admin/limits")
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, body, "permission")
}
