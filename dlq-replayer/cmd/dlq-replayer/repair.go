package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/deadletter"
)

type repairCommand struct {
	replaying
	Patch      string        `name:"patch" xor:"patch" placeholder:"FILE" help:"JSON merge patch (RFC 7386) for the values; - reads it from standard input." group:"Change"`
	SetHeaders []headerValue `name:"set-header" sep:"none" placeholder:"NAME=VALUE" help:"Header to set; with no VALUE it is taken away. Repeat it for several." group:"Change"`
	Editor     bool          `name:"editor" xor:"patch" help:"Edit the value of one letter in $VISUAL or $EDITOR. What is masked stays as it is." group:"Change"`
}

func (c *repairCommand) run(ctx context.Context, con *console) error {
	order, err := c.order(desk.Repair, con)
	if c.Patch == "" && len(c.SetHeaders) == 0 && !c.Editor {
		err = errors.Join(err, errors.New("a repair needs --patch, --set-header or --editor"))
	}
	if c.Editor && len(c.IDs) != 1 {
		err = errors.Join(err, errors.New("--editor is for one letter: give its ID"))
	}
	if err != nil {
		return err
	}
	if _, err := con.reader(); err != nil {
		return err
	}
	order.Change = &desk.Change{}
	for _, h := range c.SetHeaders {
		if order.Change.Headers == nil {
			order.Change.Headers = make(map[string]string)
		}
		order.Change.Headers[h.Name] = h.Value
	}
	if c.Patch != "" {
		if order.Change.Patch, err = readPatch(c.Patch, con.in); err != nil {
			return fmt.Errorf("--patch: %w", err)
		}
	}
	if c.Editor {
		if order.Change.Patch, err = c.edit(ctx, con, order); err != nil {
			return fmt.Errorf("--editor: %w", err)
		}
		if order.Change.Patch == nil && len(order.Change.Headers) == 0 {
			_, err := fmt.Fprintln(con.out, "nothing was changed, and nothing was done")
			return err
		}
	}
	if err := payload.CheckChange(order.Change.Patch, order.Change.Headers); err != nil {
		return err
	}
	return c.act(ctx, con, order)
}

// edit lets the operator change a letter's value, and returns that as a patch: nil for no change.
func (c *repairCommand) edit(ctx context.Context, con *console, order desk.Order) (json.RawMessage, error) {
	reader, err := con.reader()
	if err != nil {
		return nil, err
	}
	if err := con.check(ctx, order.Selection); err != nil {
		return nil, err
	}
	var letter deadletter.Letter
	err = con.desk.Letters(ctx, desk.Selection{IDs: c.IDs}, func(e desk.Entry) error { letter = e.Letter; return nil })
	if err != nil {
		return nil, err
	}
	if c.Reveal {
		if err := con.desk.Reveal(ctx, c.IDs, order); err != nil {
			return nil, err
		}
	}
	before, err := reader.Show(ctx, letter, c.Reveal)
	switch {
	case err != nil:
		return nil, fmt.Errorf("SCHEMA_REGISTRY_URL (--schema-registry-url): %w", err)
	case before.Undecodable != "":
		return nil, fmt.Errorf("the value cannot be decoded, and so not be edited: %s", before.Undecodable)
	}
	after, err := edit(ctx, con, before.Value)
	if err != nil {
		return nil, err
	}
	patch, err := payload.Diff(before.Value, after)
	if err != nil {
		return nil, err
	}
	if len(patch) == 0 || string(patch) == "{}" {
		return nil, nil
	}
	if !c.JSON {
		if _, err := fmt.Fprintf(con.out, "patch: %s\n", patch); err != nil {
			return nil, err
		}
	}
	return patch, nil
}

// maxPatch bounds a patch: no value is larger.
const maxPatch = 1 << 20

func readPatch(path string, stdin io.Reader) (json.RawMessage, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // read only
		stdin = file
	}
	raw, err := io.ReadAll(io.LimitReader(stdin, maxPatch+1))
	switch {
	case err != nil:
		return nil, err
	case len(raw) > maxPatch:
		return nil, fmt.Errorf("the patch has more than %d bytes", maxPatch)
	case strings.TrimSpace(string(raw)) == "":
		return nil, errors.New("the patch is empty")
	}
	return raw, nil
}
