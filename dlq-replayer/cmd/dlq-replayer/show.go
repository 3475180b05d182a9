package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/deadletter"
)

type showCommand struct {
	revealing
	ID     desk.ID `arg:"" name:"id" help:"ID of the letter, as list prints it."`
	Reveal bool    `name:"reveal" help:"Show personal data too. Needs --reason; it is kept who did so and why."`
	JSON   bool    `name:"json" help:"As one JSON object."`
}

// detail is a letter as JSON.
type detail struct {
	row
	Original  original              `json:"original"`
	Headers   []header              `json:"headers"`
	Decisions []deadletter.Decision `json:"decisions"` // oldest first

	Value         json.RawMessage `json:"value,omitempty"`
	Masked        bool            `json:"masked"`                   // personal data
	Undecodable   string          `json:"undecodable,omitempty"`    // why there is no value
	UndecodableAt *int            `json:"undecodable_at,omitempty"` // the byte, where it is known
	Hex           string          `json:"hex,omitempty"`            // then, of all bytes or, if masked, the first

	value payload.Shown
}

// original is where the record was that failed.
type original struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Timestamp time.Time `json:"timestamp"`
}

type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (c *showCommand) run(ctx context.Context, con *console) error {
	if err := c.checkReveal(c.Reveal); err != nil {
		return err
	}
	reader, err := con.reader()
	if err != nil {
		return err
	}
	selection := desk.Selection{IDs: []desk.ID{c.ID}}
	if err := con.check(ctx, selection); err != nil {
		return err
	}
	var entry desk.Entry
	err = con.desk.Letters(ctx, selection, func(e desk.Entry) error { entry = e; return nil })
	if err != nil {
		return err
	}
	if c.Reveal {
		// Who sees it is known before it can be seen.
		if err := con.desk.Reveal(ctx, selection.IDs, desk.Order{By: con.by, Why: c.Reason, From: con.from}); err != nil {
			return err
		}
	}
	shown, err := c.detail(ctx, entry, reader)
	if err != nil {
		return err
	}
	if shown.Decisions, err = con.desk.History(ctx, c.ID); err != nil {
		return err
	}
	if c.JSON {
		return con.answer(shown)
	}
	_, err = con.out.Write(shown.text())
	return err
}

func (c *showCommand) detail(ctx context.Context, e desk.Entry, reader *payload.Reader) (*detail, error) {
	l := e.Letter
	value, err := reader.Show(ctx, l, c.Reveal)
	if err != nil {
		return nil, fmt.Errorf("SCHEMA_REGISTRY_URL (--schema-registry-url): %w", err)
	}
	shown := &detail{
		row: newRow(e), Masked: !c.Reveal, Original: original{l.Topic, l.OriginalPartition, l.OriginalOffset, l.Timestamp},
		Value: value.Value, Undecodable: value.Undecodable, Hex: hex.EncodeToString(value.Raw), value: value,
	}
	if value.Undecodable != "" && value.At >= 0 {
		shown.UndecodableAt = &value.At
	}
	for _, h := range l.Headers {
		shown.Headers = append(shown.Headers, header{h.Key, string(h.Value)})
	}
	return shown, nil
}

// text is for people.
func (s *detail) text() []byte {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, printable(value))
		}
	}
	line("ID", s.ID.String())
	line("State", s.State)
	line("Reason", s.Reason)
	line("Message", s.Message)
	line("Cannot be replayed", s.Flaw)
	line("Key", s.Key)
	line("Stage", s.Stage)
	origin, program := "Original", "Consumer"
	if s.Stage == string(deadletter.StageProduce) {
		origin, program = "Meant for", "Producer"
	}
	line(origin, fmt.Sprintf("%s, partition %d, offset %d, %s", s.Original.Topic, s.Original.Partition, s.Original.Offset, s.Original.Timestamp.Format(time.RFC3339Nano)))
	line(program, strings.TrimSpace(s.Group+" "+s.Version))
	line("First failure", s.FirstFailure.Format(time.RFC3339Nano))
	line("Last failure", s.LastFailure.Format(time.RFC3339Nano))
	line("Attempts", strconv.Itoa(s.Attempts))
	line("Replays", strconv.Itoa(s.Replays))
	line("Last replay", s.ReplayID)
	line("Event ID", s.EventID)
	line("Correlation ID", s.CorrelationID)
	for i, d := range s.Decisions {
		if i == 0 {
			fmt.Fprintln(w, "\nDecisions")
		}
		what := d.Decision
		if d.Patched {
			what += " with a change"
		}
		fmt.Fprintf(w, "  %s\t%s by %s%s%s\n", d.At.Format(time.RFC3339), printable(what), printable(d.By), clause(" from ", d.From), clause(": ", d.Why))
		if d.RunID != "" {
			fmt.Fprintf(w, "  \trun %s\n", printable(d.RunID))
		}
	}
	fmt.Fprintln(w, "\nHeaders")
	for _, h := range s.Headers {
		line("  "+printable(h.Name), h.Value)
	}
	_ = w.Flush() // into memory
	s.printValue(&text)
	return text.Bytes()
}

// clause is a part of a sentence that is left away if there is nothing to say.
func clause(before, text string) string {
	if text == "" {
		return ""
	}
	return before + printable(text)
}

func (s *detail) printValue(text *bytes.Buffer) {
	if s.Undecodable == "" {
		written := "as the source sent it"
		if s.Schema != 0 {
			written = fmt.Sprintf("schema %d", s.Schema)
		}
		fmt.Fprintf(text, "\nValue (%d bytes, %s)\n", s.Bytes, written)
		_ = json.Indent(text, s.Value, "", "  ") // of JSON that is valid
		text.WriteByte('\n')
		return
	}
	where := ""
	if s.UndecodableAt != nil {
		where = fmt.Sprintf(", from byte %d on", *s.UndecodableAt)
	}
	fmt.Fprintf(text, "\nValue (%d bytes) cannot be decoded%s: %s\n%s", s.Bytes, where, printable(s.Undecodable), s.value.Dump())
	if s.value.Hidden > 0 {
		fmt.Fprintf(text, "%d more bytes may hold personal data: --reveal --reason=TEXT shows them\n", s.value.Hidden)
	}
}
