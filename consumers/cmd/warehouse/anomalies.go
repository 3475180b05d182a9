package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers/anomaly"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas/wire"
)

type anomaliesCommand struct {
	Detect anomaliesDetectCommand `cmd:"" help:"Look through what has come since the last time."`
	List   anomaliesListCommand   `cmd:"" help:"List reviews: those that are open, unless told otherwise."`
	Ack    anomaliesAckCommand    `cmd:"" help:"Close a review, and say why."`
}

// anomalySettings are those of whoever detects.
type anomalySettings struct {
	anomaly.Config

	SchemaRegistryURL secret.Ref `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" placeholder:"URL" help:"Schema registry, such as http://user:password@host:8081." group:"Schema registry"`
}

// detector opens what tells subscribers, and makes a detector. The client stays the caller's to close.
func (s anomalySettings) detector(ctx context.Context, w *warehouse, conn clickhouse.Conn, client *kgo.Client) (*anomaly.Detector, error) {
	rules, err := anomaly.ReadRules(s.RulesFile)
	if err != nil {
		return nil, err
	}
	cfg := s.Config
	cfg.Rules = rules
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if s.SchemaRegistryURL == "" {
		return nil, errors.New("SCHEMA_REGISTRY_URL is required (or SCHEMA_REGISTRY_URL_FILE or --schema-registry-url): reviews are told of on a topic")
	}
	url, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", s.SchemaRegistryURL)
	if err != nil {
		return nil, err
	}
	registry, err := wire.NewRegistry(url)
	if err != nil {
		return nil, err
	}
	publisher, err := anomaly.OpenPublisher(ctx, client, registry)
	if err != nil {
		return nil, err
	}
	return anomaly.New(cfg, w.logger, anomaly.Deps{Conn: conn, Alerts: publisher})
}

type anomaliesDetectCommand struct {
	Kafka     kafkaclient.Config `embed:""`
	Anomalies anomalySettings    `embed:""`
	JSON      bool               `name:"json" help:"As one JSON object."`
}

func (c *anomaliesDetectCommand) run(ctx context.Context, w *warehouse) error {
	conn, err := w.open(ctx)
	if err != nil {
		return err
	}
	client, err := w.kafka(ctx, c.Kafka)
	if err != nil {
		return err
	}
	detector, err := c.Anomalies.detector(ctx, w, conn, client)
	if err != nil {
		return err
	}
	report, err := detector.Run(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(w.out).Encode(report)
	}
	if err := printReviews(w.out, report.Opened); err != nil {
		return err
	}
	fmt.Fprintf(w.out, "%d versions looked at, %d reviews opened, %d suppressed by a storm\n", report.Versions, len(report.Opened), report.Suppressed)
	return nil
}

type anomaliesListCommand struct {
	All  bool `name:"all" help:"Those that were acknowledged, and those that a storm or a backfill stands for, as well."`
	JSON bool `name:"json" help:"As one JSON list."`
}

func (c *anomaliesListCommand) run(ctx context.Context, w *warehouse) error {
	conn, err := w.open(ctx)
	if err != nil {
		return err
	}
	reviews, err := anomaly.List(ctx, conn, c.All)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(w.out).Encode(reviews)
	}
	if len(reviews) == 0 {
		fmt.Fprintln(w.out, "no reviews")
		return nil
	}
	return printReviews(w.out, reviews)
}

type anomaliesAckCommand struct {
	IDs    []string `arg:"" name:"id" help:"Reviews, as list shows them."`
	Reason string   `name:"reason" required:"" placeholder:"TEXT" help:"Why nobody need look at it any more. No personal data."`
	By     string   `name:"by" placeholder:"NAME" help:"Who says so; the user of the operating system if it is left out."`
	JSON   bool     `name:"json" help:"As one JSON list: those that were closed now."`
}

func (c *anomaliesAckCommand) run(ctx context.Context, w *warehouse) error {
	ids := make([]uuid.UUID, len(c.IDs))
	for i, text := range c.IDs {
		id, err := uuid.Parse(text)
		if err != nil {
			return fmt.Errorf("%q is not the ID of a review: `warehouse anomalies list` shows them", text)
		}
		ids[i] = id
	}
	if c.Reason == "" {
		return errors.New("--reason: say why")
	}
	by := c.By
	if by == "" {
		by = operator()
	}
	conn, err := w.open(ctx)
	if err != nil {
		return err
	}
	closed, err := anomaly.Acknowledge(ctx, conn, ids, by, c.Reason)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(w.out).Encode(closed)
	}
	for _, r := range closed {
		fmt.Fprintf(w.out, "acknowledged %s\n", r.ID)
	}
	if n := len(ids) - len(closed); n > 0 {
		fmt.Fprintf(w.out, "%d acknowledged before\n", n)
	}
	return nil
}

func printReviews(out io.Writer, reviews []anomaly.Review) error {
	if len(reviews) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATE\tOPENED\tSCOPE\tOF\tPERIOD\tWEEK\tFIELD\tKIND\tBEFORE\tAFTER\tPERCENT\tMOVES")
	for _, r := range reviews {
		of := r.UserID
		switch r.Scope {
		case anomaly.ScopeHierarchy:
			of = "below " + r.HierarchyID
		case anomaly.ScopeStorm:
			of = "the largest: " + of
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", r.ID, r.State, r.OpenedAt.UTC().Format(time.DateTime), r.Scope, of,
			r.TimePeriodID, r.TimeFrameID, r.FieldID, r.Kind, digits(r.Before), digits(r.After), digits(r.Percent), r.Moves)
	}
	return table.Flush()
}

// digits of an amount; "-" where there is none.
func digits(d *decimal.Decimal) string {
	if d == nil {
		return "-"
	}
	return d.String()
}
