// Package status owns the account of a running stack: processes, topics, lag, rows, dead letters.
package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/schemas"
)

// timeout bounds each thing that is asked.
const timeout = 10 * time.Second

// Report is the account.
type Report struct {
	Processes []Process `json:"processes"`
	Topics    []Topic   `json:"topics"`
	Groups    []Group   `json:"groups"`
	Tables    []Table   `json:"tables"`
	Letters   Letters   `json:"dead_letters"`
}

// Process is a part of the stack.
type Process struct {
	Name   string        `json:"name"`
	PID    int           `json:"pid"` // 0 if it does not run
	Addr   string        `json:"addr"`
	Uptime time.Duration `json:"uptime_ns"`
	Health string        `json:"health"` // "healthy", "not running", or what it says
}

// Topic counts what is on a topic. Offsets include the markers of transactions.
type Topic struct {
	Name       string `json:"name"`
	Partitions int    `json:"partitions"`
	Offsets    int64  `json:"offsets"` // from the first to the last
}

// Group is how far a consumer group is behind.
type Group struct {
	Name    string `json:"name"`
	Topic   string `json:"topic"`
	Members int    `json:"members"`
	Lag     int64  `json:"lag"` // records
}

// Table counts the rows of an entity.
type Table struct {
	Entity  string `json:"entity"`
	Rows    int64  `json:"rows"`    // of the view: one a key
	History int64  `json:"history"` // versions
	Ledger  int64  `json:"ledger"`  // events
}

// Letters counts dead letters, as dlq-replayer does.
type Letters struct {
	Open     int64 `json:"open"`
	Replayed int64 `json:"replayed"`
}

// groups of the consumers, by their topics.
var groups = map[string]string{
	schemas.ForecastTopic: "revstream-forecast", schemas.PeopleTopic: "revstream-people", schemas.ExportRunsTopic: "revstream-export-runs",
	schemas.DLQDecisionsTopic: "revstream-dlq-audit",
}

// Collect asks every part of a stack. An error says what could not be asked; the
// report has the rest.
func Collect(ctx context.Context, s *stack.Stack) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*timeout)
	defer cancel()
	r := Report{Processes: processes(ctx, s)}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Config().Addrs.Broker))
	if err != nil {
		return r, fmt.Errorf("configuring the Kafka client: %w", err)
	}
	defer client.Close()
	kafkaErr := r.kafka(ctx, kadm.NewClient(client))
	if kafkaErr == nil {
		kafkaErr = r.letters(ctx, s)
	}
	return r, errors.Join(kafkaErr, r.tables(ctx, s))
}

func (r *Report) tables(ctx context.Context, s *stack.Stack) error {
	for _, entity := range []string{"forecast", "people", "export_runs"} {
		t, err := table(ctx, s.Config().ClickHouseURL(), entity)
		if err != nil {
			return err
		}
		r.Tables = append(r.Tables, t)
	}
	return nil
}

func (r *Report) letters(ctx context.Context, s *stack.Stack) error {
	out, err := s.Run(ctx, "", "dlq-replayer", "stats", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &r.Letters)
	}
	if err != nil {
		return fmt.Errorf("counting dead letters: %w", err)
	}
	return nil
}

func processes(ctx context.Context, s *stack.Stack) []Process {
	running := make(map[string]*stack.Process)
	for _, p := range s.Processes() {
		running[p.Name] = p
	}
	var all []Process
	for _, name := range slices.Concat(stack.Surroundings, stack.Services) {
		p, ok := running[name]
		if !ok {
			all = append(all, Process{Name: name, Health: "not running"})
			continue
		}
		health := "healthy"
		if err := s.Ready(ctx, name); err != nil {
			health = err.Error()
		}
		all = append(all, Process{Name: name, PID: p.PID, Addr: p.Addr, Uptime: time.Since(p.Started), Health: health})
	}
	return all
}

func (r *Report) kafka(ctx context.Context, admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	catalogue, err := schemas.Topics()
	if err != nil {
		return err
	}
	names := make([]string, len(catalogue))
	for i, t := range catalogue {
		names[i] = t.Name
	}
	starts, err := admin.ListStartOffsets(ctx, names...)
	if err != nil {
		return fmt.Errorf("reading the topics' beginnings: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return fmt.Errorf("reading the topics' ends: %w", err)
	}
	for _, name := range names {
		t := Topic{Name: name}
		for id, end := range ends[name] {
			if end.Err == nil {
				t.Partitions++
				t.Offsets += end.Offset - starts[name][id].Offset
			}
		}
		r.Topics = append(r.Topics, t)
		if group, ok := groups[name]; ok {
			g, err := lag(ctx, admin, group, name, ends)
			if err != nil {
				return err
			}
			r.Groups = append(r.Groups, g)
		}
	}
	return nil
}

// Lag sums how far the consumers are behind, in records.
func Lag(ctx context.Context, admin *kadm.Client) (int64, error) {
	var sum int64
	for topic, group := range groups {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err != nil {
			return 0, fmt.Errorf("reading the topics' ends: %w", err)
		}
		g, err := lag(ctx, admin, group, topic, ends)
		if err != nil {
			return 0, err
		}
		sum += g.Lag
	}
	return sum, nil
}

func lag(ctx context.Context, admin *kadm.Client, group, topic string, ends kadm.ListedOffsets) (Group, error) {
	g := Group{Name: group, Topic: topic}
	described, err := admin.DescribeGroups(ctx, group)
	if err != nil {
		return g, fmt.Errorf("describing group %s: %w", group, err)
	}
	g.Members = len(described[group].Members)
	committed, err := admin.FetchOffsets(ctx, group)
	// A group that does not exist yet has everything before it.
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return g, fmt.Errorf("reading what group %s has committed: %w", group, err)
	}
	for id, end := range ends[topic] {
		at, _ := committed.Lookup(topic, id)
		g.Lag += max(0, end.Offset-max(0, at.At))
	}
	return g, nil
}

func table(ctx context.Context, clickhouseURL, entity string) (Table, error) {
	t := Table{Entity: entity}
	answer, err := Query(ctx, clickhouseURL, fmt.Sprintf(
		"SELECT (SELECT count() FROM %[1]s), (SELECT count() FROM %[1]s_history FINAL), (SELECT count() FROM %[1]s_ledger FINAL)", entity))
	if err != nil {
		return t, err
	}
	fields := strings.Fields(answer)
	for i, into := range []*int64{&t.Rows, &t.History, &t.Ledger} {
		if *into, err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return t, fmt.Errorf("counting the rows of %s: %w", entity, err)
		}
	}
	return t, nil
}

// Query runs a statement on ClickHouse over plain HTTP, as curl would, and
// returns the answer in the format that it asks for, TSV by default.
func Query(ctx context.Context, clickhouseURL, statement string) (string, error) {
	u, err := url.Parse(clickhouseURL)
	if err != nil {
		return "", fmt.Errorf("asking ClickHouse: %w", err)
	}
	u.RawQuery = url.Values{"database": {strings.Trim(u.Path, "/")}}.Encode()
	u.Path = "/"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(statement))
	if err != nil {
		return "", fmt.Errorf("asking ClickHouse: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("asking ClickHouse: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("asking ClickHouse: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("asking ClickHouse: %s", strings.TrimSpace(string(body)))
	}
	return strings.TrimRight(string(body), "\n"), nil
}

// Print writes the report as tables.
func (r Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROCESS\tPID\tADDRESS\tUP\tHEALTH")
	for _, p := range r.Processes {
		if p.PID == 0 {
			fmt.Fprintf(w, "%s\t-\t-\t-\t%s\n", p.Name, p.Health)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", p.Name, p.PID, p.Addr, p.Uptime.Truncate(time.Second), p.Health)
	}
	fmt.Fprintln(w, "\nTOPIC\tPARTITIONS\tOFFSETS")
	for _, t := range r.Topics {
		fmt.Fprintf(w, "%s\t%d\t%d\n", t.Name, t.Partitions, t.Offsets)
	}
	fmt.Fprintln(w, "\nGROUP\tTOPIC\tMEMBERS\tLAG")
	for _, g := range r.Groups {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", g.Name, g.Topic, g.Members, g.Lag)
	}
	fmt.Fprintln(w, "\nENTITY\tROWS\tHISTORY\tLEDGER")
	for _, t := range r.Tables {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", t.Entity, t.Rows, t.History, t.Ledger)
	}
	fmt.Fprintf(w, "\nDEAD LETTERS\topen\t%d\treplayed\t%d\n", r.Letters.Open, r.Letters.Replayed)
	return w.Flush()
}
