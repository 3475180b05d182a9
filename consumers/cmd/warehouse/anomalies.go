package main

import (
	"context"
	"errors"
)

type anomaliesCommand struct {
	Detect anomaliesDetectCommand `cmd:"" help:"Look through what has come since the last time."`
	List   anomaliesListCommand   `cmd:"" help:"List reviews: those that are open, unless told otherwise."`
	Ack    anomaliesAckCommand    `cmd:"" help:"Close a review, and say why."`
}

type (
	anomaliesDetectCommand struct{}
	anomaliesListCommand   struct{}
	anomaliesAckCommand    struct{}
)

func (c *anomaliesDetectCommand) run(context.Context, *warehouse) error {
	return errors.New("anomalies detect is not there yet")
}

func (c *anomaliesListCommand) run(context.Context, *warehouse) error {
	return errors.New("anomalies list is not there yet")
}

func (c *anomaliesAckCommand) run(context.Context, *warehouse) error {
	return errors.New("anomalies ack is not there yet")
}
