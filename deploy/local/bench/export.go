package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/revstream/revstream/deploy/local/bench/rig"
	"github.com/revstream/revstream/deploy/local/process"
)

// The large Clari document: what an organisation of some thousand people with many fields exports of a quarter, week over week.
const (
	largeBytes  = 500_000_000
	largeFields = 40
)

// large measures forecast-producer on a document of 500 MB of which everything is new: the worst case for its memory, since it
// has to remember each key that it publishes. Once a run: nothing is compared with it.
func (r *run) large() measurement {
	return measurement{
		figures: []string{ExportRSS, ExportRate},
		long:    true,
		setUp:   func(context.Context) error { return nil },
		measure: func(ctx context.Context) error {
			if r.round > 0 {
				return nil
			}
			doc, err := r.largeDocument(ctx)
			if err != nil {
				return err
			}
			broker, err := r.rig.Broker(ctx, "broker-export")
			if err != nil {
				return err
			}
			if err := r.rig.Quiet(ctx); err != nil {
				return err
			}
			if err := errors.Join(r.export(ctx, broker, doc), broker.Stop(ctx), os.RemoveAll(broker.Dir)); err != nil {
				return err
			}
			rss := r.report.Raw[ExportRate]["rss_mb"].Median
			r.report.add(ExportRSS, "", rss)
			r.say("%s: %.0f", ExportRSS, rss)
			return nil
		},
	}
}

// largeDocument sizes the document by a small one of the same kind, as how many weeks a quarter has so far depends on the day.
func (r *run) largeDocument(ctx context.Context) (document, error) {
	const few = 500
	sim, addr, err := r.simulate(ctx, few, largeFields)
	if err != nil {
		return document{}, err
	}
	size, entries, err := sampleExport(ctx, sim, "http://"+addr+"/v4")
	if err := errors.Join(err, r.rig.Stop(ctx, sim)); err != nil {
		return document{}, fmt.Errorf("exporting a small document: %w", err)
	}
	users := largeBytes * few / size
	r.report.add(ExportRate, "document_mb", float64(size)*float64(users)/few/1e6)
	return document{users: users, fields: largeFields, historical: true, kinds: "forecast", events: entries / few * users, figure: ExportRate}, nil
}

// sampleExport exports what a Clari has, and returns the document's size in bytes and its number of entries that make an event.
func sampleExport(ctx context.Context, sim *process.Process, api string) (size, entries int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var job struct{ JobID string }
	body := []byte(`{"typesToExport":["forecast"],"includeHistorical":true}`)
	if err := callClari(ctx, http.MethodPost, api+"/export/forecast/forecast", body, &job); err != nil {
		return 0, 0, err
	}
	var document json.RawMessage
	err = rig.Poll(ctx, sim, sampleEvery/2, func(ctx context.Context) (bool, error) {
		return callClari(ctx, http.MethodGet, api+"/export/jobs/"+job.JobID+"/results", nil, &document) == nil, nil
	})
	if err != nil {
		return 0, 0, err
	}
	var list struct {
		Entries []struct{ ForecastValue json.RawMessage }
	}
	if err := json.Unmarshal(document, &list); err != nil {
		return 0, 0, err
	}
	for _, e := range list.Entries {
		if e.ForecastValue != nil {
			entries++
		}
	}
	return len(document), entries, nil
}

func callClari(ctx context.Context, method, url string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("apikey", clariKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
