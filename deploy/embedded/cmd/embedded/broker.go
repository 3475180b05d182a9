package main

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	"github.com/revstream/revstream/deploy/embedded/broker"
)

type brokerCommand struct {
	Addr       string `help:"Address of the Kafka listener; port 0 takes a free one." default:"127.0.0.1:9092" env:"EMBEDDED_BROKER_ADDR"`
	DataDir    string `help:"Folder of topics and groups." default:"build/data/broker" env:"EMBEDDED_BROKER_DATA_DIR"`
	Partitions int    `help:"Partitions of a topic that is created without saying how many." default:"6" env:"EMBEDDED_BROKER_PARTITIONS"`
}

func (c *brokerCommand) Run(ctx context.Context, logger *slog.Logger) error {
	running, err := broker.Start(ctx, broker.Config{Addr: c.Addr, DataDir: c.DataDir, Partitions: c.Partitions}, logger)
	if errors.Is(err, syscall.EADDRINUSE) {
		return listenError(c.Addr, err)
	}
	if err != nil {
		return err
	}
	logger.Info("listening", "addr", running.Addr())
	<-ctx.Done()
	logger.Info("stopping")
	return running.Close()
}
