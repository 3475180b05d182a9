package main

import (
	"context"
	"errors"
)

type reportCommand struct{}

func (c *reportCommand) run(context.Context, *warehouse) error {
	return errors.New("report is not there yet")
}
