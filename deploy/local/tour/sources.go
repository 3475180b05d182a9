package tour

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

// call speaks to a simulator's own routes. A nil body is a GET; a nil into ignores the answer.
func call(ctx context.Context, url string, body, into any) error {
	method, reader := http.MethodGet, io.Reader(nil)
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("asking the simulator: %w", err)
		}
		method, reader = http.MethodPost, bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return fmt.Errorf("asking the simulator: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the simulator: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // only to say more
		return fmt.Errorf("asking the simulator: status %d: %s", resp.StatusCode, text)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the simulator's answer: %w", err)
	}
	return nil
}

func (t *Tour) clari(path string) string { return "http://" + t.stack.Config().Addrs.Clari + path }
func (t *Tour) salesloft(path string) string {
	return "http://" + t.stack.Config().Addrs.Salesloft + path
}

// forecastValues is how many values an export of everything has.
func (t *Tour) forecastValues(ctx context.Context) (int64, error) {
	var stats claritest.Stats
	err := call(ctx, t.clari("/_sim/stats?historical=true"), nil, &stats)
	return int64(stats.State.Values), err
}

func (t *Tour) changeForecasts(ctx context.Context, entries int) ([]claritest.Change, error) {
	var answer struct {
		Changes []claritest.Change `json:"changes"`
	}
	err := call(ctx, t.clari("/_sim/update"), claritest.Update{Entries: entries}, &answer)
	return answer.Changes, err
}

func (t *Tour) peopleStats(ctx context.Context) (salesloftest.Stats, error) {
	var stats salesloftest.Stats
	err := call(ctx, t.salesloft("/_sim/stats"), nil, &stats)
	return stats, err
}

func (t *Tour) changePeople(ctx context.Context, change salesloftest.Change) ([]int64, error) {
	var answer struct {
		IDs []int64 `json:"ids"`
	}
	err := call(ctx, t.salesloft("/_sim/update"), change, &answer)
	return answer.IDs, err
}

// people returns the source's records as they are now, by ID.
func (t *Tour) people(ctx context.Context) (map[int64]json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.salesloft("/_sim/people"), nil)
	if err != nil {
		return nil, fmt.Errorf("asking the simulator: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the simulator: %w", err)
	}
	defer resp.Body.Close()
	records := make(map[int64]json.RawMessage)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var person struct {
			ID int64 `json:"id"`
		}
		if err := json.Unmarshal(lines.Bytes(), &person); err != nil {
			return nil, fmt.Errorf("reading the simulator's people: %w", err)
		}
		records[person.ID] = bytes.Clone(lines.Bytes())
	}
	return records, lines.Err()
}

// deliver posts a webhook as Salesloft does, signed with the callback token.
// It is how the tour makes a delivery late: Salesloft retries one for 45 s.
func (t *Tour) deliver(ctx context.Context, event string, body []byte) error {
	cfg := t.stack.Config()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, cfg.WebhookURL(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("delivering a webhook: %w", err)
	}
	req.Header.Set(salesloft.EventHeader, event)
	req.Header.Set(salesloft.SignatureHeader, salesloftest.Sign(cfg.WebhookSecret(), body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("delivering a webhook: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("delivering a webhook: status %d", resp.StatusCode)
	}
	return nil
}
