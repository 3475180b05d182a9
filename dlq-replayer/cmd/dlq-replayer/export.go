package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/revstream/revstream/dlq-replayer/archive"
	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/deadletter"
)

type exportCommand struct {
	filters
	revealing
	Out  string `name:"out" required:"" placeholder:"FILE" help:"File to write: NAME.jsonl, NAME.parquet, or - for JSON lines on standard output. Without --reveal it has no bytes of values, and cannot be imported." group:"Export"`
	JSON bool   `name:"json" help:"Tell the outcome as one JSON object."`
}

// exported is the outcome as JSON.
type exported struct {
	Exported int    `json:"exported"`
	File     string `json:"file"`
	Masked   bool   `json:"masked"`
}

func (c *exportCommand) run(ctx context.Context, con *console) error {
	selection, err := c.selection()
	_, format := archive.FormatOf(c.Out)
	if format != nil {
		format = fmt.Errorf("--out: %w", format)
	}
	if err := errors.Join(err, c.checkReveal(c.Reveal), format); err != nil {
		return err
	}
	reader, err := con.reader()
	if err != nil {
		return err
	}
	if err := con.check(ctx, selection); err != nil {
		return err
	}
	file, err := archive.Create(c.Out, "", con.out, c.Reveal)
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	defer file.Abort()
	n, err := c.audited(ctx, con, selection, func() (int, error) { return c.write(ctx, con, selection, reader, file) })
	if err != nil {
		return err
	}
	return c.tell(con, n)
}

// audited keeps that personal data leaves the desk: before it does, and how much it was.
func (c *exportCommand) audited(ctx context.Context, con *console, selection desk.Selection, write func() (int, error)) (int, error) {
	if !c.Reveal {
		return write()
	}
	run := con.newRun(deadletter.Exported, c.Reason)
	var err error
	if run.Order, err = json.Marshal(desk.Order{Selection: selection}); err != nil {
		return 0, fmt.Errorf("encoding the selection: %w", err)
	}
	run.Note = "begun"
	if err := con.desk.Record(ctx, run); err != nil {
		return 0, err
	}
	n, err := write()
	run.Note, run.Done = "", n
	if err != nil {
		run.Status, run.Note = deadletter.Interrupted, "the file was not finished"
	}
	return n, errors.Join(err, con.desk.Record(context.WithoutCancel(ctx), run))
}

func (c *exportCommand) write(ctx context.Context, con *console, selection desk.Selection, reader *payload.Reader, file *archive.Writer) (n int, err error) {
	err = con.desk.Letters(ctx, selection, func(e desk.Entry) error {
		value, err := reader.Show(ctx, e.Letter, c.Reveal)
		if err != nil {
			return fmt.Errorf("SCHEMA_REGISTRY_URL (--schema-registry-url): %w", err)
		}
		n++
		return file.Write(archive.Record{
			ID: e.ID.String(), State: e.State, Letter: e.Letter, Schema: e.Schema, Value: string(value.Value), Undecodable: value.Undecodable,
		})
	})
	if err != nil {
		return n, err
	}
	return n, file.Close()
}

func (c *exportCommand) tell(con *console, n int) error {
	out, name := con.out, c.Out
	if c.Out == "-" { // there are the letters
		out, name = con.err, "standard output"
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(exported{n, c.Out, !c.Reveal})
	}
	_, err := fmt.Fprintf(out, "exported=%d to %s\n", n, name)
	return err
}

type importCommand struct {
	consent
	File string `arg:"" name:"file" help:"What export --reveal has written: NAME.jsonl, NAME.parquet, or - for JSON lines on standard input."`
}

// run puts letters back. Those that are there already are skipped, which is no shortfall: an import that was interrupted is
// done again.
func (c *importCommand) run(ctx context.Context, con *console) error {
	if err := c.check(); err != nil {
		return err
	}
	file, err := archive.Open(c.File, "", con.in)
	if err != nil {
		return err
	}
	defer file.Close()
	if !c.Yes {
		return c.plan(con, file)
	}
	order := desk.Order{By: con.by, Why: c.Reason, From: con.from, TakeOver: c.TakeOver}
	report, err := con.desk.Import(ctx, order, file.Next)
	if report.RunID == "" {
		return err
	}
	printed := con.printReport("import", report, c.JSON)
	switch {
	case err != nil:
		return fmt.Errorf("%w; what was imported stays, and the same command goes on", err)
	case report.Failed.Letters > 0:
		return fmt.Errorf("%d letters were not imported", report.Failed.Letters)
	}
	return printed
}

// plan reads the whole file, so that what is wrong with it is known before anything is written.
func (c *importCommand) plan(con *console, file *archive.Reader) error {
	report := desk.Report{Reasons: map[string]map[string]int{}}
	for {
		letter, err := file.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if report.Reasons[letter.Topic] == nil {
			report.Reasons[letter.Topic] = map[string]int{}
		}
		report.Reasons[letter.Topic][letter.Reason]++
		report.Done++
	}
	return con.printPlan(desk.Order{Action: "import"}, report, c.JSON)
}
