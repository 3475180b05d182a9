package endtoend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

// TestNoSecretLeaves: of a run in which much goes wrong, nothing that anybody can read has a secret in it: no log line at
// debug level, no metric, no health document, no record of any topic, no output of a command, no error.
func TestNoSecretLeaves(t *testing.T) {
	t.Parallel()
	s := newStackWith(t, stack.Config{Sources: stack.Sources{Seed: 5, People: "300", Users: 5}, LogLevel: "debug"}, consume.ProtocolClassic)
	up(t, s)
	cycleEnded(t, s)
	settled(t, s, 300)
	read := map[string][]byte{} // what was read, by where

	// Tokens are renewed, sources fail, credentials are refused.
	cfg := s.Config()
	control(t, "http://"+cfg.Addrs.Salesloft+"/_sim/expire-tokens", "")
	control(t, "http://"+cfg.Addrs.Salesloft+"/_sim/update", `{"count": 5}`)
	control(t, "http://"+cfg.Addrs.Clari+"/_sim/fail", `{"requests": 3, "status": 503}`)
	for _, args := range [][]string{
		{stack.ForecastProducer, "--once"}, {stack.PeopleProducer, "--once"},
		{stack.ForecastProducer, "check"}, {stack.PeopleProducer, "check", "--json"},
		{stack.PeopleProducer, "webhooks", "list"}, {stack.PeopleProducer, "webhooks", "sync"},
		{stack.ForecastProducer, "--help"}, {stack.PeopleProducer, "--help"},
		{stack.ForecastProducer, "--once", "--clari-api-key=another-key-that-is-wrong"},
		{stack.PeopleProducer, "--once", "--salesloft-client-secret=another-secret-that-is-wrong", "--salesloft-refresh-token=another-token-that-is-wrong"},
		{"dlq-replayer", "list", "--json"}, {"dlq-replayer", "serve", "--help"}, {"warehouse", "contract", "check", "--json"}, {"warehouse", "watch", "--help"},
		{"dlq-replayer", "serve", "--operator-token=too-short", "--addr=" + cfg.Addrs.DeskPage},
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(binDir, args[0]), args[1:]...)
		cmd.Env = append(cfg.Environment(), "HTTP_ADDR=")
		out, _ := cmd.CombinedOutput() // some are to fail
		read[fmt.Sprint("output of ", args)] = out
	}
	require.Contains(t, string(read[fmt.Sprint("output of ", []string{stack.ForecastProducer, "check"})]), "[PASS]")

	for name, addr := range map[string]string{
		stack.ForecastProducer: cfg.Addrs.ForecastProducer, stack.PeopleProducer: cfg.Addrs.PeopleProducer,
		stack.ForecastConsumer: cfg.Addrs.ForecastConsumer, stack.PeopleConsumer: cfg.Addrs.PeopleConsumer,
		stack.DLQDesk: cfg.Addrs.DLQDesk, stack.WarehouseWatch: cfg.Addrs.WarehouseWatch,
	} {
		for _, path := range []string{"/metrics", "/health", "/readyz", "/healthz"} {
			body, header := fetch(t, "http://"+addr+path)
			read[name+path] = fmt.Appendf(body, "%v", header)
		}
	}
	_, err := s.Stop(t.Context(), stack.PeopleProducer, stack.ForecastProducer)
	require.NoError(t, err)
	records := topics(t, cfg.Addrs.Broker)
	require.NotEmpty(t, records[schemas.ProducerStateTopic])
	for topic, text := range records {
		read["topic "+topic] = text
	}
	logs, err := filepath.Glob(filepath.Join(cfg.Dir, "logs", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	for _, path := range logs {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		read["log "+filepath.Base(path)] = raw
	}

	var issued struct{ Tokens []string }
	body, _ := fetch(t, "http://"+cfg.Addrs.Salesloft+"/_sim/tokens")
	require.NoError(t, json.Unmarshal(body, &issued))
	require.GreaterOrEqual(t, len(issued.Tokens), 4, "two pairs at least")
	wrong := []string{"another-key-that-is-wrong", "another-secret-that-is-wrong", "another-token-that-is-wrong", "too-short"}
	for _, secret := range append(append(cfg.Secrets(), issued.Tokens...), wrong...) {
		require.Greater(t, len(secret), 8)
		for where, text := range read {
			require.False(t, bytes.Contains(text, []byte(secret)), "%s has a secret in it", where)
		}
	}
	require.Contains(t, string(read["log people-producer.log"]), `"level":"DEBUG"`, "the test reads what it thinks it reads")
}

func control(t *testing.T, url, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 2, resp.StatusCode/100, url)
}

func fetch(t *testing.T, url string) ([]byte, http.Header) {
	t.Helper()
	client := http.Client{Timeout: 30 * time.Second}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return text, resp.Header
}

// topics returns all that is on each topic: keys, values and headers.
func topics(t *testing.T, broker string) map[string][]byte {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	require.NoError(t, err)
	defer client.Close()
	catalogue, err := schemas.Topics()
	require.NoError(t, err)
	all := map[string][]byte{}
	for _, topic := range catalogue {
		require.NoError(t, snapshot.Read(t.Context(), client, topic.Name, func(r *kgo.Record) error {
			text := append(append(all[topic.Name], r.Key...), r.Value...)
			for _, h := range r.Headers {
				text = append(append(text, h.Key...), h.Value...)
			}
			all[topic.Name] = text
			return nil
		}))
	}
	return all
}
