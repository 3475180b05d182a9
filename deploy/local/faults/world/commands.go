package world

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// run runs a program to its end as a kind of client, and returns what it
// printed. It is killed when ctx ends before that.
func (w *World) run(ctx context.Context, kind, stdin, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(w.cfg.BinDir, program), args...)
	cmd.Env = append(slices.Clip(w.env[kind]), "LOG_LEVEL=warn")
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return stdout.String(), fmt.Errorf("running %s %s: %w: %s", program, strings.Join(args, " "), err, lines[len(lines)-1])
	}
	return stdout.String(), nil
}

// Replay runs dlq-replayer over the network that may fail it; when ctx ends it is killed.
func (w *World) Replay(ctx context.Context, stdin string, args ...string) (string, error) {
	return w.run(ctx, replayers, stdin, "dlq-replayer", args...)
}

// Replayer runs dlq-replayer without a proxy before it, for what must be known at the end.
func (w *World) Replayer(ctx context.Context, stdin string, args ...string) (string, error) {
	return w.run(ctx, checker, stdin, "dlq-replayer", args...)
}
