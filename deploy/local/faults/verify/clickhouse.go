package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

// database speaks SQL over HTTP.
type database struct {
	endpoint string
	user     *url.Userinfo
	client   *http.Client
}

// open takes a URL as CLICKHOUSE_URL has it, its database as the path.
func open(rawURL string) (*database, error) {
	u, err := url.Parse(strings.TrimSpace(rawURL))
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return nil, errors.New("the ClickHouse URL is not one such as http://user:password@host:8123/revenue")
	}
	settings := url.Values{
		"database": {strings.Trim(u.Path, "/")}, "default_format": {"JSONEachRow"},
		"output_format_json_quote_64bit_integers": {"0"}, "output_format_json_quote_decimals": {"1"},
		"output_format_decimal_trailing_zeros": {"0"}, "date_time_output_format": {"simple"},
	}
	endpoint := url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/", RawQuery: settings.Encode()}
	return &database{endpoint: endpoint.String(), user: u.User, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}, nil
}

// query hands over the rows of an answer, one JSON object each. An error that ClickHouse meets in the middle stands in
// the answer's place, and is no JSON.
func (d *database) query(ctx context.Context, sql string, row func(*json.Decoder) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.endpoint, strings.NewReader(sql))
	if err != nil {
		return fmt.Errorf("querying ClickHouse: %w", err)
	}
	if d.user != nil {
		password, _ := d.user.Password()
		req.SetBasicAuth(d.user.Username(), password)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return fmt.Errorf("querying ClickHouse: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		message, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // what there is of it
		return fmt.Errorf("querying ClickHouse: %s: %s", resp.Status, message)
	}
	dec := json.NewDecoder(resp.Body)
	dec.UseNumber()
	for dec.More() {
		if err := row(dec); err != nil {
			return fmt.Errorf("reading ClickHouse's answer: %w", err)
		}
	}
	// More says no at the end and at an error alike.
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading ClickHouse's answer: it does not end well: %w", err)
	}
	return nil
}

// final returns FINAL where a table's engine knows it: a table of another engine shows what it has.
func (d *database) final(ctx context.Context, table string) (string, error) {
	clause, found := "", false
	err := d.query(ctx, fmt.Sprintf("SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = '%s'", table), func(dec *json.Decoder) error {
		var row struct{ Engine string }
		if err := dec.Decode(&row); err != nil {
			return err
		}
		found = true
		if strings.Contains(row.Engine, "Replacing") {
			clause = "FINAL"
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("there is no table %s", table)
	}
	return clause, err
}

// storedChunk keeps a statement below ClickHouse's limit of 256 KiB.
const storedChunk = 4000

// Stored returns which of a topic's events the history does not have.
func Stored(ctx context.Context, clickhouseURL, topic string, ids []uuid.UUID) (missing []uuid.UUID, err error) {
	db, err := open(clickhouseURL)
	if err != nil {
		return nil, err
	}
	return db.missing(ctx, tables[topic].name+"_history", ids)
}

func (d *database) missing(ctx context.Context, table string, ids []uuid.UUID) (missing []uuid.UUID, err error) {
	for len(ids) > 0 {
		chunk := ids[:min(len(ids), storedChunk)]
		ids = ids[len(chunk):]
		texts := make([]string, len(chunk))
		for i, id := range chunk {
			texts[i] = "'" + id.String() + "'"
		}
		stored := make(map[uuid.UUID]bool, len(chunk))
		sql := fmt.Sprintf("SELECT DISTINCT event_id FROM %s WHERE event_id IN (%s)", table, strings.Join(texts, ","))
		err := d.query(ctx, sql, func(dec *json.Decoder) error {
			var row struct {
				EventID uuid.UUID `json:"event_id"`
			}
			err := dec.Decode(&row)
			stored[row.EventID] = true
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, id := range chunk {
			if !stored[id] {
				missing = append(missing, id)
			}
		}
	}
	return missing, nil
}
