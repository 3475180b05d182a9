package main

import (
	"context"
	"errors"
)

type watchCommand struct{}

func (c *watchCommand) run(context.Context, *warehouse) error {
	return errors.New("watch is not there yet")
}
