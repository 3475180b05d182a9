package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas/wire"
)

// headerBytes of a value are its magic byte and schema ID, and never personal.
const headerBytes = 5

type showCommand struct {
	ID          desk.ID    `arg:"" name:"id" help:"ID of the letter, as list prints it."`
	RegistryURL secret.Ref `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" required:"" placeholder:"URL" help:"Schema registry, as http://user:password@host:8081 if it wants credentials."`
	Reveal      bool       `name:"reveal" help:"Show personal data too."`
	JSON        bool       `name:"json" help:"As one JSON object."`
}

// detail is a letter as JSON.
type detail struct {
	row
	Decision *desk.Decision `json:"decision,omitempty"`

	Original struct {
		Topic     string    `json:"topic"`
		Partition int32     `json:"partition"`
		Offset    int64     `json:"offset"`
		Timestamp time.Time `json:"timestamp"`
	} `json:"original"`
	Group   string   `json:"group"`
	Version string   `json:"version"`
	Headers []header `json:"headers"`

	ValueBytes  int             `json:"value_bytes"`
	SchemaID    int             `json:"schema_id,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
	Undecodable string          `json:"undecodable,omitempty"` // why there is no value
	Hex         string          `json:"hex,omitempty"`         // then, of all bytes or, without --reveal, the first

	raw []byte // what Hex shows
}

type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (c *showCommand) run(ctx context.Context, d *desk.Desk, out io.Writer) error {
	registryURL, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", c.RegistryURL)
	if err != nil {
		return err
	}
	registry, err := wire.NewRegistry(registryURL)
	if err != nil {
		return err
	}
	var entry desk.Entry
	err = d.Letters(ctx, desk.Selection{IDs: []desk.ID{c.ID}}, func(e desk.Entry) error { entry = e; return nil })
	if err != nil {
		return err
	}
	shown, err := c.detail(ctx, entry, payload.NewReader(registry))
	if err != nil {
		return err
	}
	decision, exists, err := d.Decision(ctx, c.ID)
	if err != nil {
		return err
	}
	if exists {
		shown.Decision = &decision
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(shown)
	}
	return shown.print(out, c.Reveal)
}

func (c *showCommand) detail(ctx context.Context, e desk.Entry, reader *payload.Reader) (*detail, error) {
	l := e.Letter
	shown := &detail{row: newRow(e), Group: l.Group, Version: l.Version, ValueBytes: len(l.Value)}
	shown.Original.Topic, shown.Original.Partition = l.Topic, l.OriginalPartition
	shown.Original.Offset, shown.Original.Timestamp = l.OriginalOffset, l.Timestamp
	for _, h := range l.Headers {
		shown.Headers = append(shown.Headers, header{h.Key, string(h.Value)})
	}
	plain := headerBytes // of the value
	var err error
	if l.Stage == string(deadletter.StageProduce) {
		plain = 0
		shown.Value, err = payload.SourceJSON(l.Value, c.Reveal)
	} else {
		err = c.decode(ctx, shown, l.Value, reader)
	}
	if invalid, ok := errors.AsType[*wire.InvalidError](err); ok {
		// What cannot be decoded cannot be told apart: any of its bytes may be of a name.
		shown.Undecodable = invalid.Error()
		shown.raw = l.Value
		if !c.Reveal {
			shown.raw = l.Value[:min(plain, len(l.Value))]
		}
		shown.Hex = hex.EncodeToString(shown.raw)
		return shown, nil
	}
	return shown, err
}

func (c *showCommand) decode(ctx context.Context, shown *detail, value []byte, reader *payload.Reader) error {
	doc, err := reader.Read(ctx, value)
	var invalid *wire.InvalidError
	switch {
	case errors.As(err, &invalid):
		return invalid
	case err != nil:
		return fmt.Errorf("SCHEMA_REGISTRY_URL (--schema-registry-url): %w", err)
	}
	shown.SchemaID = doc.SchemaID()
	shown.Value, err = doc.JSON(c.Reveal)
	return err
}

// print is for people. Write errors surface with the last write.
func (s *detail) print(out io.Writer, revealed bool) error {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, printable(value))
		}
	}
	line("ID", s.ID.String())
	line("State", s.State)
	if d := s.Decision; d != nil {
		line("Decided", fmt.Sprintf("%s by %s, replay %s", d.At.Format(time.RFC3339), d.By, d.ReplayID))
		line("Decided why", d.Why)
	}
	line("Reason", s.Reason)
	line("Message", s.Message)
	line("Cannot be replayed", s.Flaw)
	line("Key", s.Key)
	line("Stage", s.Stage)
	original, program := "Original", "Consumer"
	if s.Stage == string(deadletter.StageProduce) {
		original, program = "Meant for", "Producer"
	}
	line(original, fmt.Sprintf("%s, partition %d, offset %d, %s", s.Original.Topic, s.Original.Partition, s.Original.Offset, s.Original.Timestamp.Format(time.RFC3339Nano)))
	line(program, strings.TrimSpace(s.Group+" "+s.Version))
	line("First failure", s.FirstFailure.Format(time.RFC3339Nano))
	line("Last failure", s.LastFailure.Format(time.RFC3339Nano))
	line("Attempts", strconv.Itoa(s.Attempts))
	line("Replays", strconv.Itoa(s.Replays))
	line("Last replay", s.ReplayID)
	line("Event ID", s.EventID)
	line("Correlation ID", s.CorrelationID)
	fmt.Fprintln(w, "\nHeaders")
	for _, h := range s.Headers {
		line("  "+printable(h.Name), h.Value)
	}
	_ = w.Flush() // into memory
	s.printValue(&text, revealed)
	_, err := out.Write(text.Bytes())
	return err
}

func (s *detail) printValue(text *bytes.Buffer, revealed bool) {
	if s.Undecodable == "" {
		written := "as the source sent it"
		if s.SchemaID != 0 {
			written = fmt.Sprintf("schema %d", s.SchemaID)
		}
		fmt.Fprintf(text, "\nValue (%d bytes, %s)\n", s.ValueBytes, written)
		_ = json.Indent(text, s.Value, "", "  ") // of JSON that is valid
		text.WriteByte('\n')
		return
	}
	fmt.Fprintf(text, "\nValue (%d bytes) cannot be decoded: %s\n%s", s.ValueBytes, printable(s.Undecodable), hex.Dump(s.raw))
	if hidden := s.ValueBytes - len(s.raw); hidden > 0 && !revealed {
		fmt.Fprintf(text, "%d more bytes may hold personal data: --reveal shows them\n", hidden)
	}
}
