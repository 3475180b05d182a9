package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/producers/people"
	"github.com/revstream/revstream/producers/people/connect"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

func TestCredentialsAreNamedByTheirVariables(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command runCommand
		want    string
	}{
		"none":          {runCommand{}, "set SALESLOFT_API_KEY, or SALESLOFT_CLIENT_ID and SALESLOFT_CLIENT_SECRET"},
		"both":          {runCommand{Salesloft: connect.Config{APIKey: "k", ClientID: "c"}}, "unset the one or the others"},
		"ID alone":      {runCommand{Salesloft: connect.Config{ClientID: "c"}}, "one of them is not set"},
		"refresh alone": {runCommand{Salesloft: connect.Config{RefreshToken: "r"}}, "one of them is not set"},
		"no keeper":     {runCommand{Salesloft: connect.Config{ClientID: "c", ClientSecret: "s", RefreshToken: "r"}}, "openssl rand -base64 32"},
		"callback without secret": {runCommand{Salesloft: connect.Config{APIKey: "k"}, Webhooks: webhookSettings{CallbackURL: "http://x"}},
			"SALESLOFT_WEBHOOK_SECRET (or SALESLOFT_WEBHOOK_SECRET_FILE) is required"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, c.command.validate(), c.want)
		})
	}
	polling := people.Config{Interval: time.Minute}
	ok := runCommand{Salesloft: connect.Config{ClientID: "c", ClientSecret: "s", RefreshToken: "r", KeeperURL: "base64key://", BudgetPerMinute: 600, BudgetShare: 0.5}, Polling: polling}
	require.NoError(t, ok.validate())
	require.NoError(t, (&runCommand{Salesloft: connect.Config{APIKey: "k", BudgetPerMinute: 600, BudgetShare: 0.5}, Polling: polling}).validate())

	wrong := runCommand{
		Salesloft: connect.Config{BudgetShare: 2},
		Webhooks:  webhookSettings{Secret: "s"}, Receiver: people.ReceiverConfig{Algorithm: "md5"},
	}
	for _, want := range []string{"SALESLOFT_API_KEY", "SALESLOFT_BUDGET_SHARE", "POLL_INTERVAL", "WEBHOOK_ALGORITHM", "WEBHOOK_ACK_TIMEOUT"} {
		require.ErrorContains(t, wrong.validate(), want)
	}
}

// TestCommands: without a command the producer runs, as it did before there were others, and needs what it needs.
func TestCommands(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--kafka-brokers=b:1 --schema-registry-url=http://r --once": "run",
		"run --kafka-brokers=b:1 --schema-registry-url=http://r":    "run",
		"webhooks list":                               "webhooks list",
		"webhooks sync --prune":                       "webhooks sync",
		"webhooks delete 7":                           "webhooks delete <id>",
		"webhooks --salesloft-api-key=k delete --all": "webhooks delete",
		"--once": "missing flags: --kafka-brokers=HOST:PORT,..., --schema-registry-url=URL",
	} {
		var s settings
		parser, err := kong.New(&s, append(options(), kong.Bind(&s.Config))...)
		require.NoError(t, err)
		var got string
		if parsed, err := parser.Parse(strings.Fields(args)); err != nil {
			got = err.Error()
		} else {
			got = parsed.Command()
			require.Equal(t, strings.HasPrefix(got, "webhooks"), s.HTTPAddr == "", "only the producer serves its metrics")
		}
		require.Equal(t, want, got, args)
	}
}

const apiKey, token = "test-api-key", "s3cr3t-callback-token"

func newSource(t *testing.T) *salesloft.Client {
	t.Helper()
	sim, err := salesloftest.New(salesloftest.Config{APIKeys: []string{apiKey}, Budget: 1_000_000})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	api := httptest.NewServer(sim)
	t.Cleanup(api.Close)
	pool := &http.Transport{}
	t.Cleanup(pool.CloseIdleConnections)
	client, err := salesloft.New(salesloft.Config{BaseURL: api.URL + "/v2", APIKey: func() string { return apiKey }},
		slog.New(slog.DiscardHandler), &http.Client{Transport: pool})
	require.NoError(t, err)
	return client
}

func TestWebhooksCommands(t *testing.T) {
	t.Parallel()
	source := newSource(t)
	_, err := source.CreateSubscription(t.Context(), "person_created", "http://127.0.0.1/others", "x")
	require.NoError(t, err)
	var out bytes.Buffer
	do := func(run func() error) string {
		t.Helper()
		out.Reset()
		require.NoError(t, run())
		require.NotContains(t, out.String(), token)
		return out.String()
	}
	c := webhooksCommand{Settings: webhookSettings{CallbackURL: "http://127.0.0.1/ours", Secret: token}}
	sync := func() error { return c.sync(t.Context(), source, &out) }
	remove := func() error { return c.delete(t.Context(), source, &out) }
	list := func() error { return c.List.print(t.Context(), source, &out) }
	require.Len(t, regexp.MustCompile(`(?m)^created `).FindAllString(do(sync), -1), 3)
	require.Equal(t, "nothing to do\n", do(sync))

	text := do(list)
	require.Regexp(t, `^ID +EVENT +ENABLED +CALLBACK URL\n`, text)
	require.Equal(t, 5, strings.Count(text, "\n"))
	c.List.JSON = true
	var first subscription
	require.NoError(t, json.NewDecoder(strings.NewReader(do(list))).Decode(&first))
	require.Equal(t, "http://127.0.0.1/others", first.CallbackURL)

	require.ErrorContains(t, remove(), "--all")
	c.Delete.IDs = []int64{first.ID, 999}
	require.ErrorContains(t, remove(), "there is no webhook subscription 999")
	c.Delete.IDs = c.Delete.IDs[:1]
	require.Contains(t, do(remove), "deleted "+strconv.FormatInt(first.ID, 10)+": person_created to http://127.0.0.1/others")
	c.Delete.IDs, c.Delete.All = nil, true
	require.Len(t, regexp.MustCompile(`(?m)^deleted `).FindAllString(do(remove), -1), 3)
	require.Empty(t, do(list))

	require.ErrorContains(t, (&webhooksCommand{}).sync(t.Context(), source, &out), "SALESLOFT_WEBHOOK_CALLBACK_URL is required")
	c.Settings.Secret = ""
	require.ErrorContains(t, sync(), "SALESLOFT_WEBHOOK_SECRET")
}
