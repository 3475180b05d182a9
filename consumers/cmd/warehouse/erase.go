package main

import (
	"context"
	"errors"
)

type eraseCommand struct{}

func (c *eraseCommand) run(context.Context, *warehouse) error {
	return errors.New("erase is not there yet")
}
