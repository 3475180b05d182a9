package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// edit gives JSON to the operator's editor and returns what was saved. The file is the operator's alone, and is gone when edit
// returns.
func edit(ctx context.Context, con *console, value json.RawMessage) (json.RawMessage, error) {
	program := os.Getenv("VISUAL")
	if program == "" {
		program = os.Getenv("EDITOR")
	}
	if program == "" {
		return nil, errors.New("set VISUAL or EDITOR to your editor, or use --patch")
	}
	dir, err := os.MkdirTemp("", "dlq-replayer-") // 0700
	if err != nil {
		return nil, fmt.Errorf("making a private folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // nobody is left to be told
	path := filepath.Join(dir, "value.json")
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, value, "", "  "); err != nil {
		return nil, fmt.Errorf("laying the value out: %w", err)
	}
	pretty.WriteByte('\n')
	if err := os.WriteFile(path, pretty.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("writing the value: %w", err)
	}
	answers := bufio.NewReader(con.in)
	for {
		// The variable may hold arguments, which the shell splits as every other program that heeds it does.
		editor := exec.CommandContext(ctx, "sh", "-c", program+` "$1"`, "sh", path) //nolint:gosec // the operator's own choice
		editor.Stdin, editor.Stdout, editor.Stderr = con.in, con.err, con.err
		if err := editor.Run(); err != nil {
			return nil, fmt.Errorf("running %s: %w", program, err)
		}
		edited, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading what was saved: %w", err)
		}
		var value map[string]json.RawMessage
		if err = json.Unmarshal(edited, &value); err == nil {
			return edited, nil
		}
		if con.terminal {
			fmt.Fprintf(con.err, "what was saved is not a JSON object: %v. Edit it again? [Y/n] ", err)
			answer, asked := answers.ReadString('\n')
			if asked == nil && !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "n") {
				continue
			}
		}
		return nil, fmt.Errorf("what was saved is not a JSON object: %w", err)
	}
}
