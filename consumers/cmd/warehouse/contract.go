package main

import (
	"context"
	"errors"
)

type contractCommand struct {
	Check contractCheckCommand `cmd:"" help:"Hold the live warehouse to the contracts."`
	Diff  contractDiffCommand  `cmd:"" help:"Say what is additive and what is breaking between two contracts."`
}

type (
	contractCheckCommand struct{}
	contractDiffCommand  struct{}
)

func (c *contractCheckCommand) run(context.Context, *warehouse) error {
	return errors.New("contract check is not there yet")
}

func (c *contractDiffCommand) run(context.Context, *warehouse) error {
	return errors.New("contract diff is not there yet")
}
