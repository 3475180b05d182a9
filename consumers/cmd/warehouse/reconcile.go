package main

import (
	"context"
	"errors"
)

type reconcileCommand struct{}

func (c *reconcileCommand) run(context.Context, *warehouse) error {
	return errors.New("reconcile is not there yet")
}
