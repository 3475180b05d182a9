package main

import (
	"context"
	"errors"
)

type retentionCommand struct{}

func (c *retentionCommand) run(context.Context, *warehouse) error {
	return errors.New("retention is not there yet")
}
