package people

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
)

// told is what a run tells: logs, metrics, errors, headers.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *told) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

// collecting notes each token that is stored.
type collecting struct {
	*Tokens
	secrets map[string]bool
}

func (c *collecting) Save(ctx context.Context, grant salesloft.Grant) error {
	c.secrets[grant.AccessToken], c.secrets[grant.RefreshToken] = true, true
	return c.Tokens.Save(ctx, grant)
}

// TestNothingSecretOrPersonalIsTold by a run that goes well, fails, rejects and is refused.
func TestNothingSecretOrPersonalIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{
		Seed: 50, People: 60, ClientID: "client", ClientSecret: "the-client-secret", RefreshToken: "the-first-refresh-token",
	})
	out := new(told)
	w.logs = out
	tokens := &collecting{secrets: map[string]bool{"the-client-secret": true, "the-first-refresh-token": true, webhookSecret: true}}
	p := w.start(func(_ *Config, api *salesloft.Config, deps *Deps) {
		tokens.Tokens = w.tokens(deps.State.(*state.Store), [32]byte{1})
		api.ClientID, api.ClientSecret = "client", func() string { return "the-client-secret" }
		api.RefreshToken, api.TokenStore = func() string { return "the-first-refresh-token" }, tokens
	})
	const firstPerson = 100_000_001
	w.update(salesloftest.Change{IDs: []int64{firstPerson}, Fields: map[string]json.RawMessage{"first_name": json.RawMessage(`{"is":"Zebedee"}`)}})
	personal := map[string]bool{"Zebedee": true}
	for _, record := range w.sim.People {
		var person map[string]any
		require.NoError(t, json.Unmarshal(record, &person))
		for _, name := range []string{"email_address", "phone", "mobile_phone", "display_name", "linkedin_url"} {
			if text, _ := person[name].(string); len(text) > 5 {
				personal[text] = true
			}
		}
	}
	require.NoError(t, p.RunOnce(t.Context()))
	w.sim.FailNext(3, http.StatusBadGateway)
	fmt.Fprintln(out, p.RunOnce(t.Context()))
	w.sim.ExpireTokens()
	w.update(salesloftest.Change{Count: 5})
	require.NoError(t, p.RunOnce(t.Context()))
	for _, body := range []string{goodBody, `{"id":5,"email_address":"zebedee@example.com"}`, `{"first_name":"Zebedee`} {
		for _, signature := range []string{sign(sha1.New, body), webhookSecret} {
			deliver(p.receiver, "POST", "person_updated", body, map[string]string{"X-Salesloft-Signature": signature})
		}
	}
	personal["zebedee@example.com"] = true
	w.sim.ExpireTokens()
	w.sim.RevokeRefreshToken()
	fmt.Fprintln(out, p.RunOnce(t.Context()))
	details, err := p.Check(t.Context())
	fmt.Fprintln(out, details, err)

	require.Greater(t, len(tokens.secrets), 6, "tokens were renewed")
	metrics, err := p.reg.Gather()
	require.NoError(t, err)
	fmt.Fprintln(out, metrics)
	for _, run := range w.runs() {
		if run.Error != nil {
			fmt.Fprintln(out, *run.Error)
		}
	}
	for _, topic := range []string{schemas.PeopleTopic, schemas.DLQTopic(schemas.PeopleTopic), schemas.ExportRunsTopic, schemas.ProducerStateTopic} {
		records := pipelinetest.ReadAll(t, w.kafka, topic)
		require.NotEmpty(t, records, topic)
		for _, record := range records {
			fmt.Fprintf(out, "%s %s\n", record.Key, record.Headers)
			if topic == schemas.ProducerStateTopic {
				fmt.Fprintf(out, "%s\n", record.Value)
			}
		}
	}
	for _, sign := range []string{"sync window failed", "person rejected", "webhook rejected", "first_name", "authorise the application again", "revstream_people_rows_total", "dlq-message"} {
		require.Contains(t, out.text.String(), sign, "else there was little to be silent about")
	}
	for secret := range tokens.secrets {
		require.NotContains(t, out.text.String(), secret)
	}
	for value := range personal {
		require.NotContains(t, out.text.String(), value)
	}
}
