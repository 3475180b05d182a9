package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/deploy/local/status"
	"github.com/revstream/revstream/pipeline/daemon"
)

type statusCommand struct {
	folder
	JSON bool `name:"json" help:"As one JSON object."`
}

func (c *statusCommand) run(ctx context.Context, _ *daemon.Runtime) error {
	s, err := stack.Open(c.Dir)
	if err != nil {
		return err
	}
	report, err := status.Collect(ctx, s)
	if err != nil {
		// What was found out so far says where to look.
		_ = report.Print(os.Stdout)
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(report)
	}
	return report.Print(os.Stdout)
}
