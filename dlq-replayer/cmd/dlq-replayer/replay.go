package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"slices"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas/wire"
)

type replayCommand struct {
	IDs []desk.ID `arg:"" optional:"" name:"id" help:"IDs of letters, as list prints them, instead of filters."`
	filters
	Yes         bool       `name:"yes" xor:"act" help:"Act. Without it nothing is written."`
	DryRun      bool       `name:"dry-run" xor:"act" help:"Only say what --yes would do: the default."`
	Rate        float64    `name:"rate" default:"0" placeholder:"N" help:"Letters per second; 0 for as fast as it goes."`
	Why         string     `name:"why" placeholder:"TEXT" help:"Text that is kept with the decisions."`
	Patch       string     `name:"patch" placeholder:"FILE" help:"JSON merge patch (RFC 7386) for the values, which must be of one topic; - reads it from standard input."`
	RegistryURL secret.Ref `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" placeholder:"URL" help:"Schema registry; needed by --patch."`
	JSON        bool       `name:"json" help:"As one JSON object."`
}

func (c *replayCommand) run(ctx context.Context, d *desk.Desk, out io.Writer) error {
	order, err := c.order(ctx, os.Stdin)
	if err != nil {
		return err
	}
	report, err := d.Replay(ctx, order)
	if report.ReplayID != "" {
		if printed := c.print(out, report, err != nil); err == nil {
			err = printed
		}
	}
	if err != nil && c.Yes && report.Replayed > 0 {
		return fmt.Errorf("stopped early; the same command goes on with what is left: %w", err)
	}
	if err == nil && c.Yes {
		err = report.Shortfall()
	}
	return err
}

// order checks the flags and reads the patch.
func (c *replayCommand) order(ctx context.Context, stdin io.Reader) (desk.Order, error) {
	if c.Rate < 0 {
		return desk.Order{}, errors.New("--rate must not be negative")
	}
	if len(c.IDs) > 0 && c.given() {
		return desk.Order{}, errors.New("IDs and filters cannot be combined: give one or the other")
	}
	selection, err := c.selection()
	if err != nil {
		return desk.Order{}, err
	}
	selection.IDs = c.IDs
	order := desk.Order{Selection: selection, DryRun: !c.Yes, Rate: c.Rate, By: operator(), Why: c.Why}
	if c.Patch != "" {
		order.Patch, err = c.patch(ctx, stdin)
	}
	return order, err
}

func (c *replayCommand) patch(ctx context.Context, stdin io.Reader) (func(context.Context, deadletter.Letter) ([]byte, string, error), error) {
	topics := make(map[string]bool)
	for _, id := range c.IDs {
		topics[id.Topic] = true
	}
	for _, topic := range c.Topics {
		topics[topic] = true
	}
	if len(topics) != 1 {
		return nil, errors.New("--patch is for letters of one topic: give IDs of one topic, or one --topic")
	}
	if c.RegistryURL == "" {
		return nil, errors.New("SCHEMA_REGISTRY_URL is required with --patch (or --schema-registry-url)")
	}
	registryURL, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", c.RegistryURL)
	if err != nil {
		return nil, err
	}
	registry, err := wire.NewRegistry(registryURL)
	if err != nil {
		return nil, err
	}
	raw, err := readPatch(c.Patch, stdin)
	if err != nil {
		return nil, fmt.Errorf("--patch: %w", err)
	}
	patch, err := payload.ParsePatch(raw)
	if err != nil {
		return nil, fmt.Errorf("--patch: %w", err)
	}
	reader := payload.NewReader(registry)
	return func(ctx context.Context, letter deadletter.Letter) ([]byte, string, error) {
		return reader.Apply(ctx, patch, letter)
	}, nil
}

// maxPatch bounds a patch: no value is larger.
const maxPatch = 1 << 20

func readPatch(path string, stdin io.Reader) ([]byte, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // read only
		stdin = file
	}
	raw, err := io.ReadAll(io.LimitReader(stdin, maxPatch+1))
	if err == nil && len(raw) > maxPatch {
		err = fmt.Errorf("the patch has more than %d bytes", maxPatch)
	}
	return raw, err
}

// operator is who runs the process. In a container the user may have a number alone.
func operator() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// outcome is a report as JSON.
type outcome struct {
	DryRun   bool                      `json:"dry_run"`
	ReplayID string                    `json:"replay_id,omitempty"`
	Replayed int                       `json:"replayed"` // or would be
	Skipped  int                       `json:"skipped"`
	Failed   int                       `json:"failed"`
	Topics   map[string]map[string]int `json:"topics"` // replayed, by topic and reason
	Skips    []setback                 `json:"skips,omitempty"`
	Failures []setback                 `json:"failures,omitempty"`
}

type setback struct {
	Why     string  `json:"why"`
	Letters int     `json:"letters"`
	First   desk.ID `json:"first"`
}

func setbacks(s desk.Setback) []setback {
	var list []setback
	for _, why := range slices.Sorted(maps.Keys(s.Why)) {
		list = append(list, setback{why, s.Why[why].Letters, s.Why[why].First})
	}
	return list
}

func (c *replayCommand) print(out io.Writer, r desk.Report, broken bool) error {
	result := outcome{
		DryRun: !c.Yes, Replayed: r.Replayed, Skipped: r.Skipped.Letters, Failed: r.Failed.Letters,
		Topics: r.Reasons, Skips: setbacks(r.Skipped), Failures: setbacks(r.Failed),
	}
	if c.Yes {
		result.ReplayID = r.ReplayID
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(result)
	}
	var text bytes.Buffer
	replayed, skipped := "replayed", "skipped"
	if result.DryRun {
		replayed, skipped = "would replay", "would skip"
	}
	for _, topic := range slices.Sorted(maps.Keys(r.Reasons)) {
		fmt.Fprintf(&text, "%s to %s:%s\n", replayed, topic, counts(r.Reasons[topic]))
	}
	for _, s := range result.Skips {
		fmt.Fprintf(&text, "%s %d, such as %s: %s\n", skipped, s.Letters, s.First, printable(s.Why))
	}
	for _, s := range result.Failures {
		fmt.Fprintf(&text, "failed %d, such as %s: %s\n", s.Letters, s.First, printable(s.Why))
	}
	switch {
	case c.Yes:
		fmt.Fprintf(&text, "replayed=%d skipped=%d failed=%d\n", result.Replayed, result.Skipped, result.Failed)
	case !broken: // else the error says it all
		fmt.Fprintf(&text, "dry run: would replay %d and skip %d; nothing was written, --yes acts\n", result.Replayed, result.Skipped)
	}
	_, err := out.Write(text.Bytes())
	return err
}
