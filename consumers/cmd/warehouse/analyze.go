package main

import (
	"context"
	"errors"
)

type analyzeCommand struct{}

func (c *analyzeCommand) run(context.Context, *warehouse) error {
	return errors.New("analyze is not there yet")
}
