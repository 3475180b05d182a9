package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/revstream/revstream/deploy/local/bench/bare"
	"github.com/revstream/revstream/deploy/local/bench/rig"
	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/deploy/local/process"
)

// ScaleConfig says what to measure.
type ScaleConfig struct {
	Events     int     `name:"events" default:"1000000" help:"Forecast events in the topic."`
	Rounds     int     `name:"rounds" default:"3" help:"Rounds."`
	Partitions []int32 `name:"partitions" default:"1,6,24" help:"Partitions of the topic."`
	Members    []int   `name:"members" default:"1,2,4" help:"Consumers in the group."`

	Dir     string `name:"dir" default:"build/bench" type:"path" help:"Folder of the run's data and logs; emptied first."`
	BinDir  string `kong:"-"` // programs
	ChdbLib string `name:"chdb-lib" env:"CHDB_LIB" placeholder:"FILE" help:"Library of the embedded ClickHouse, where it is not found by itself."`
}

// ScaleReport is the outcome of a scale run, as build/bench-scale.json has it.
type ScaleReport struct {
	Machine Machine `json:"machine"`
	Rounds  int     `json:"rounds"`
	Events  int     `json:"events"`
	Sizes   []Size  `json:"sizes"`
}

// Size is what a group of some size does on a topic of some size, on this one machine: medians of the rounds, from when every
// member that can have partitions has settled its first batch to the last batch of all.
type Size struct {
	Partitions   int32   `json:"partitions"`
	Members      int     `json:"members"`
	EventsPerS   float64 `json:"events_per_s"` // of all members
	MinPerS      float64 `json:"events_per_s_min"`
	MaxPerS      float64 `json:"events_per_s_max"`
	MemberRSSMB  float64 `json:"member_rss_mb"`   // peak, of the largest member
	RowsInsert   float64 `json:"rows_per_insert"` // on average
	InsertsPer1M float64 `json:"inserts_per_1m_events"`
	CommitsPerS  float64 `json:"commits_per_s"` // one a batch
	Parts        float64 `json:"parts"`         // active at the end, of the three tables
}

// Scale measures groups of several sizes on topics of several sizes.
func Scale(ctx context.Context, cfg ScaleConfig, logger *slog.Logger, out io.Writer) (report *ScaleReport, err error) {
	r, err := open(ctx, Config{Rounds: cfg.Rounds, Events: cfg.Events, Dir: cfg.Dir, BinDir: cfg.BinDir, ChdbLib: cfg.ChdbLib}, logger, out)
	if r != nil {
		defer func() { err = errors.Join(err, r.close()) }()
	}
	if err != nil {
		return nil, err
	}
	topics := make(map[int32]*loaded)
	for _, partitions := range cfg.Partitions {
		if topics[partitions], err = loadInto(ctx, r, "forecasts-"+strconv.Itoa(int(partitions)), partitions, workload.Forecasts, cfg.Events, timely(workload.Forecast)); err != nil {
			return nil, err
		}
	}
	for r.round = range r.cfg.Rounds {
		r.say("round %d of %d", r.round+1, r.cfg.Rounds)
		for _, partitions := range cfg.Partitions {
			for _, members := range cfg.Members {
				if err := r.group(ctx, topics[partitions], partitions, members); err != nil {
					return nil, fmt.Errorf("%d partitions, %d members: %w", partitions, members, err)
				}
			}
		}
	}
	report = &ScaleReport{Machine: r.report.Machine, Rounds: cfg.Rounds, Events: cfg.Events}
	for _, partitions := range cfg.Partitions {
		for _, members := range cfg.Members {
			report.Sizes = append(report.Sizes, r.sizeOf(partitions, members))
		}
	}
	return report, nil
}

func sizeName(partitions int32, members int) string {
	return fmt.Sprintf("%dp_%dm", partitions, members)
}

func (r *run) sizeOf(partitions int32, members int) Size {
	raw := r.report.Raw[sizeName(partitions, members)]
	return Size{
		Partitions: partitions, Members: members,
		EventsPerS: raw["events_per_s"].Median, MinPerS: raw["events_per_s"].Min, MaxPerS: raw["events_per_s"].Max,
		MemberRSSMB: raw["rss_mb"].Median, RowsInsert: raw["rows_per_insert"].Median, InsertsPer1M: raw["inserts"].Median,
		CommitsPerS: raw["commits_per_s"].Median, Parts: raw["parts"].Median,
	}
}

// member is a consumer of a group.
type member struct {
	process *process.Process
	addr    string
	records float64 // that it has settled
	batches float64
	inserts float64
}

// group measures a group on a full topic. Its members are static, as they are where they are many.
func (r *run) group(ctx context.Context, topic *loaded, partitions int32, size int) error {
	if err := r.clear(ctx, topic.entity, bare.Tables...); err != nil {
		return err
	}
	if err := topic.broker.Rewind(ctx, topic.entity.Group); err != nil {
		return err
	}
	members, names := make([]*member, size), make([]string, size)
	for i := range members {
		name := "member-" + strconv.Itoa(i+1)
		p, addr, err := r.rig.Start(ctx, name, append(topic.broker.Env(), "GROUP_INSTANCE_ID="+name), topic.entity.Consumer)
		if err != nil {
			return err
		}
		members[i], names[i] = &member{process: p, addr: addr}, name
	}
	rate, commits, err := r.watchGroup(ctx, topic, members, min(size, int(partitions)))
	if err != nil {
		return err
	}
	n, rss, inserts := float64(topic.records), int64(0), 0.0
	for _, m := range members {
		rss, inserts = max(rss, process.PeakMemory(m.process.PID())), inserts+m.inserts
	}
	for _, m := range members {
		if err := r.rig.Stop(ctx, m.process); err != nil {
			return err
		}
	}
	// Static members keep their places when they stop.
	if err := topic.broker.Dismiss(ctx, topic.entity.Group, names...); err != nil {
		return err
	}
	parts, err := r.rig.Number(ctx, "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table LIKE 'forecast\\_%'")
	if err != nil {
		return err
	}
	name := sizeName(partitions, size)
	for quantity, value := range map[string]float64{
		"events_per_s": rate, "rss_mb": float64(rss) / 1e6, "rows_per_insert": n / (inserts / 3), "inserts": inserts / n * 1e6,
		"commits_per_s": commits, "parts": float64(parts),
	} {
		r.report.add(name, quantity, value)
	}
	r.say("%d partitions, %d members: %.0f events/s", partitions, size, rate)
	return r.check(ctx, topic.entity, rows{topic.records, topic.records, topic.records})
}

// watchGroup waits until so many members are at work, and then until all is committed. It returns events/s and commits/s in
// between. The members' counters do not say when that is: what a partition's old and new owner have both read, both count.
func (r *run) watchGroup(ctx context.Context, topic *loaded, members []*member, busy int) (rate, commits float64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, consumePatience, fmt.Errorf("the group was not through the topic after %s %s", consumePatience, r.logs()))
	defer cancel()
	var begun time.Time
	var before, now member // sums
	err = rig.Poll(ctx, members[0].process, sampleEvery, func(ctx context.Context) (bool, error) {
		working := 0
		now = member{}
		for _, m := range members {
			r.look(ctx, topic.entity, m)
			now.records, now.batches = now.records+m.records, now.batches+m.batches
			if m.records > 0 {
				working++
			}
		}
		if begun.IsZero() && working >= busy {
			begun, before = time.Now(), now
		}
		if now.records < float64(topic.records) {
			return false, nil
		}
		committed, err := topic.broker.Committed(ctx, topic.entity.Group, topic.entity.Topic)
		return err == nil && committed.Sum() >= topic.records, err
	})
	if err == nil && (begun.IsZero() || now == before) {
		err = errors.New("the topic was read before all members were at work; use more --events")
	}
	seconds := time.Since(begun).Seconds()
	return (float64(topic.records) - before.records) / seconds, (now.batches - before.batches) / seconds, err
}

// look reads what a member has done; one that does not listen yet has done nothing.
func (r *run) look(ctx context.Context, entity workload.Entity, m *member) {
	metrics, err := r.scraper.Scrape(ctx, m.addr)
	if err != nil {
		return
	}
	topic := `topic="` + entity.Topic + `"`
	m.records, m.batches = metrics.Sum("revstream_consume_records_total", topic), metrics.Sum("revstream_consume_batch_records_count", topic)
	m.inserts = metrics.Sum("revstream_clickhousesink_insert_seconds_count", `entity="`+entity.Name+`"`)
}

// Write writes the report as JSON.
func (r *ScaleReport) Write(path string) error { return writeJSON(path, r) }

// Print writes the sizes as a table of Markdown.
func (r *ScaleReport) Print(w io.Writer) error {
	var text strings.Builder
	text.WriteString("\n| partitions | members | events/s (min–max) | RSS of a member, MB | rows an insert | inserts for 1,000,000 events | commits/s | parts |\n|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, s := range r.Sizes {
		fmt.Fprintf(&text, "| %d | %d | %s (%s–%s) | %s | %s | %s | %.1f | %.0f |\n", s.Partitions, s.Members, grouped(s.EventsPerS, 0), grouped(s.MinPerS, 0),
			grouped(s.MaxPerS, 0), grouped(s.MemberRSSMB, 0), grouped(s.RowsInsert, 0), grouped(s.InsertsPer1M, 0), s.CommitsPerS, s.Parts)
	}
	_, err := io.WriteString(w, text.String())
	return err
}
