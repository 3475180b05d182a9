package recording_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/producers/recording"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve gives the address of a handler, and a client of it.
func serve(t *testing.T, handler http.Handler) (string, *http.Client) {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv.URL, srv.Client()
}

// record runs something against a handler and returns the folder and the text of what was written down.
func record(t *testing.T, handler http.Handler, run func(base string, client *http.Client)) (dir, text string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "new", "folder")
	base, client := serve(t, handler)
	recorder, err := recording.New(dir, client.Transport)
	require.NoError(t, err)
	client.Transport = recorder
	run(base, client)
	require.NoError(t, recorder.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		text += string(b)
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	return dir, text
}

// sensitive collects the texts of a JSON value that nobody may see, and the long ones of them that can be looked for in a text.
func sensitive(t *testing.T, raw []byte, into map[string]bool, plain ...string) {
	t.Helper()
	var value any
	require.NoError(t, json.Unmarshal(raw, &value))
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, inner := range v {
				if key == "custom_fields" {
					into[k] = true
				}
				walk(k, inner)
			}
		case []any:
			for _, inner := range v {
				walk(key, inner)
			}
		case string:
			if !slices.Contains(plain, key) {
				into[v] = true
			}
		}
	}
	walk("", value)
	maps.DeleteFunc(into, func(text string, _ bool) bool { return len([]rune(text)) < 8 }) // shorter ones occur by chance
}

// forecastRun is a job from the question of limits to the last entry: what was the same, and all of it.
func forecastRun(t *testing.T, base string, client *http.Client) (same, all []string) {
	t.Helper()
	c, err := clari.New(clari.Config{BaseURL: base + "/v4", APIKey: func() string { return "k3y-of-the-customer" }, SpoolDir: t.TempDir()},
		slog.New(slog.DiscardHandler), client)
	require.NoError(t, err)
	limits, err := c.Limits(t.Context())
	require.NoError(t, err)
	same = append(same, fmt.Sprint(limits))
	_, err = c.StartExport(t.Context(), "refused", clari.ExportRequest{})
	var refused *clari.APIError
	require.ErrorAs(t, err, &refused)
	same = append(same, refused.Code)
	id, err := c.StartExport(t.Context(), "forecast", clari.ExportRequest{IncludeHistorical: true, Types: clari.Types()})
	require.NoError(t, err)
	var job clari.Job
	require.Eventually(t, func() bool {
		job, err = c.Job(t.Context(), id)
		return err == nil && job.Terminal()
	}, 10*time.Second, time.Millisecond)
	same = append(same, id, string(job.Status), job.StartTime.String())
	export, err := c.Results(t.Context(), id)
	require.NoError(t, err)
	defer func() { require.NoError(t, export.Close()) }()
	same = append(same, fmt.Sprint(export.TimePeriods[0].ID, len(export.Users), len(export.Fields), export.TimeFrames))
	all = append(all, fmt.Sprint(export.Users, export.Fields))
	for e, err := range export.Entries(t.Context()) {
		require.NoError(t, err)
		require.NotNil(t, export.User(e.UserID), "the users' IDs and the entries' still are the same")
		same = append(same, e.TimePeriodID+e.TimeFrameID+e.UserID+e.FieldID+e.UpdatedOn.String()+e.UpdatedBy)
		all = append(all, fmt.Sprint(e.Values))
	}
	return same, append(same, all...)
}

func TestForecastRunIsReplayed(t *testing.T) {
	t.Parallel()
	sim, err := claritest.New(claritest.Config{Seed: 3, APIKey: "k3y-of-the-customer", Users: 8, Fields: 4, Weeks: 3, NoOptIn: []string{"refused"}})
	require.NoError(t, err)
	var same, all []string
	var document []byte
	dir, text := record(t, sim, func(base string, client *http.Client) {
		same, all = forecastRun(t, base, client)
		document = get(t, client, base+"/v4/export/jobs/"+same[2]+"/results", "apikey", "k3y-of-the-customer")
	})
	require.Greater(t, len(same), 80)

	replay := func() (same, all []string) {
		handler, err := claritest.LoadRecording(dir)
		require.NoError(t, err)
		base, client := serve(t, handler)
		return forecastRun(t, base, client)
	}
	replayed, replayedAll := replay()
	require.Equal(t, same, replayed)
	require.NotEqual(t, all, replayedAll)
	_, again := replay()
	require.Equal(t, replayedAll, again)
	for i := len(same) + 1; i < len(all); i++ {
		if strings.ContainsAny(all[i], "123456789") && strings.Count(all[i], "{") == 1 {
			require.NotEqual(t, all[i], replayedAll[i], "no amount is what it was")
		}
	}

	secrets := map[string]bool{"k3y-of-the-customer": true}
	sensitive(t, document, secrets, "userId", "crmId", "timeFrameId", "timePeriodId", "fieldId", "updatedBy", "startDate", "endDate", "scopeId", "fieldType")
	require.Greater(t, len(secrets), 15)
	for secret := range secrets {
		require.NotContains(t, text, secret)
	}
	require.NotContains(t, text, "127.0.0.1")
}

// get asks for something and reads it all.
func get(t *testing.T, client *http.Client, url, header, value string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	req.Header.Set(header, value)
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return b
}

var peopleSecrets = []string{"client-s3cret", "r3fresh-token", "callb4ck-token", "hooks.customer.example"}

// peopleRun is a sync of everybody with the client's own token, ties among them, and a subscription.
func peopleRun(t *testing.T, base string, client *http.Client, until time.Time) (same []string, people []salesloft.Person) {
	t.Helper()
	c, err := salesloft.New(salesloft.Config{
		BaseURL: base + "/v2", TokenURL: base + "/oauth/token", ClientID: "client-1", ClientSecret: func() string { return peopleSecrets[0] },
		Budget: salesloft.BudgetConfig{PerMinute: 1 << 30, Share: 1}, PageSize: 10,
	}, slog.New(slog.DiscardHandler), client)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(t.Context())) }()
	me, err := c.Me(t.Context())
	require.NoError(t, err)
	same = append(same, fmt.Sprint(me.ID, me.GUID, me.TeamID))
	for batch, err := range c.Changes(t.Context(), time.Time{}, until) {
		require.NoError(t, err)
		require.Empty(t, batch.Failed)
		same = append(same, batch.Cursor.UTC().String())
		for _, p := range batch.People {
			same = append(same, fmt.Sprint(p.ID, p.UpdatedAt.UTC(), p.EmailAddress != nil, p.Starred != nil && *p.Starred))
			people = append(people, p)
		}
	}
	subscription, err := c.CreateSubscription(t.Context(), "person_updated", "https://"+peopleSecrets[3]+"/in?k="+peopleSecrets[2], peopleSecrets[2])
	require.NoError(t, err)
	same = append(same, fmt.Sprint(subscription.ID, subscription.EventType))
	return same, people
}

func TestPeopleRunIsReplayed(t *testing.T) {
	t.Parallel()
	sim, err := salesloftest.New(salesloftest.Config{
		Seed: 4, People: 60, TieRun: 25, ClientID: "client-1", ClientSecret: peopleSecrets[0], RefreshToken: peopleSecrets[1], Budget: 1 << 30,
	})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	until := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var same []string
	var people []salesloft.Person
	var grant struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	dir, text := record(t, sim, func(base string, client *http.Client) {
		same, people = peopleRun(t, base, client, until)
		body := fmt.Sprintf(`{"grant_type":"refresh_token","client_id":"client-1","client_secret":%q,"refresh_token":%q}`, peopleSecrets[0], peopleSecrets[1])
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/oauth/token", strings.NewReader(body))
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&grant))
		require.NoError(t, resp.Body.Close())
	})
	require.Len(t, people, 60)
	require.NotEmpty(t, grant.Refresh)

	replay := func(until time.Time) ([]string, []salesloft.Person) {
		handler, err := salesloftest.LoadRecording(dir)
		require.NoError(t, err)
		base, client := serve(t, handler)
		return peopleRun(t, base, client, until)
	}
	replayed, first := replay(until)
	require.Equal(t, same, replayed)
	replayed, second := replay(until.Add(time.Hour))
	require.Equal(t, same, replayed, "later, when the window ends later")
	require.Equal(t, first, second)
	pseudonyms := map[string]string{}
	for i := range people {
		require.NotEqual(t, people[i].LastName, first[i].LastName)
		was, is := *people[i].LastName, *first[i].LastName
		if before, found := pseudonyms[was]; found {
			require.Equal(t, before, is, "equal names have equal pseudonyms")
		}
		pseudonyms[was] = is
		if people[i].EmailAddress != nil {
			require.Equal(t, *first[i].EmailAddress, *first[i].FullEmailAddress)
			require.Regexp(t, `^[a-z]+\.\d+@[a-z]{7}\.[a-z]{3}$`, *first[i].EmailAddress)
		}
	}

	secrets := map[string]bool{grant.Access: true, grant.Refresh: true, "client-1": true, "Integration User": true, "integration@example.com": true}
	for _, raw := range sim.People {
		sensitive(t, raw, secrets, "created_at", "updated_at", "last_contacted_at", "crm_id", "account_crm_id", "owner_crm_id", "job_seniority")
	}
	for _, secret := range peopleSecrets {
		secrets[secret] = true
	}
	require.Greater(t, len(secrets), 200)
	for secret := range secrets {
		require.NotContains(t, text, secret)
	}
}

func TestReplayHasNoAnswer(t *testing.T) {
	t.Parallel()
	dir, _ := record(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":`+r.URL.Query().Get("page")+`}`)
	}), func(base string, client *http.Client) {
		for _, page := range []string{"1", "2", "1"} {
			require.Equal(t, `{"id":`+page+`}`, string(get(t, client, base+"/v2/people?page="+page, "A", "b")))
		}
	})
	handler, err := recording.Load(dir)
	require.NoError(t, err)
	base, client := serve(t, handler)
	for _, page := range []string{"2", "1", "1", "1", "2"} {
		require.Equal(t, `{"id":`+page+`}`, string(get(t, client, base+"/v2/people?page="+page, "A", "b")))
	}
	require.Contains(t, string(get(t, client, base+"/v2/people?page=3", "A", "b")), "no answer, or none left, to GET /v2/people?page=3")
	_, err = recording.Load(t.TempDir())
	require.ErrorContains(t, err, "no exchanges")
}

// TestWhatIsNoJSON shows that a page of HTML, a body that is cut and one that is too long come again as such.
func TestWhatIsNoJSON(t *testing.T) {
	t.Parallel()
	const html = "<html>john@example.com</html>"
	long := `{"x":"` + strings.Repeat("x", 5<<20) + `"}`
	dir, text := record(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/html":
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, html)
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"data":[{"id":7,"last_name":"Smith"},{"id":8,"last_na`)
		case "/long":
			_, _ = io.WriteString(w, long)
		}
	}), func(base string, client *http.Client) {
		require.Equal(t, html, string(get(t, client, base+"/html", "A", "b")))
		require.Equal(t, long, string(get(t, client, base+"/long", "A", "b")))
		_, err := read(t, client, base+"/cut")
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
	require.NotContains(t, text, "john")
	require.NotContains(t, text, "Smith")
	handler, err := recording.Load(dir)
	require.NoError(t, err)
	base, client := serve(t, handler)
	resp, err := client.Get(base + "/html") //nolint:noctx // over at once
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, []any{http.StatusBadGateway, "text/html", int64(len(html))}, []any{resp.StatusCode, resp.Header.Get("Content-Type"), resp.ContentLength})
	got, err := read(t, client, base+"/cut")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Regexp(t, `^\{"data":\[\{"id":7,"last_name":"[A-Z][a-z]{4}"\},\{"id":8,`, got)
	require.Contains(t, string(get(t, client, base+"/long", "A", "b")), "too long for the recording")
}

func read(t *testing.T, client *http.Client, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestErrorsPassAndFoldersAreChecked(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	recorder, err := recording.New(t.TempDir(), transport(func(*http.Request) (*http.Response, error) { return nil, down }))
	require.NoError(t, err)
	_, err = recorder.RoundTrip(httptest.NewRequest(http.MethodGet, "/", nil)) //nolint:bodyclose // there is none
	require.ErrorIs(t, err, down)
	require.NoError(t, recorder.Close())
	require.NoError(t, recorder.Close())

	_, err = recording.New("", http.DefaultTransport)
	require.ErrorContains(t, err, "HTTP_RECORD_DIR")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = recording.New(file, http.DefaultTransport)
	require.ErrorContains(t, err, "HTTP_RECORD_DIR")
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// BenchmarkStream says how fast a long answer passes: the caller must not notice.
func BenchmarkStream(b *testing.B) {
	document := []byte(`{"entries":[` + strings.TrimSuffix(strings.Repeat(`{"userId":"280627:00E4M000001RgqRUAS","forecastValue":125000.0},`, 1<<18), ",") + `]}`)
	recorder, err := recording.New(b.TempDir(), transport(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(document)), Header: http.Header{}}, nil
	}))
	require.NoError(b, err)
	b.SetBytes(int64(len(document)))
	b.ReportAllocs()
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	for b.Loop() {
		resp, err := recorder.RoundTrip(request)
		require.NoError(b, err)
		_, _ = io.Copy(struct{ io.Writer }{io.Discard}, resp.Body)
		require.NoError(b, resp.Body.Close())
	}
	_ = recorder.Close()
}
