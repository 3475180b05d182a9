package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/revstream/revstream/deploy/local/kafka"
	"github.com/revstream/revstream/pipeline/daemon"
)

// javaPatience is how long a Java program may take to stop.
const javaPatience = 30 * time.Second

type kafkaCommand struct {
	Addr    string   `name:"addr" env:"BROKER_ADDR" default:"127.0.0.1:9092" help:"Address of the first node for clients, empty for a free port; the others take free ports."`
	Dir     string   `name:"data-dir" default:"build/kafka/data" type:"path" help:"Folder of the nodes' settings, data and logs."`
	Lib     string   `name:"kafka-lib" env:"KAFKA_LIB" default:"build/kafka/lib" type:"path" help:"Folder of Kafka's jars; make kafka fetches them."`
	Command []string `arg:"" optional:"" passthrough:"" help:"Command to run with the cluster's addresses in KAFKA_BROKERS and TEST_KAFKA_BROKERS; the cluster ends with it."`
}

func (c *kafkaCommand) run(ctx context.Context, rt *daemon.Runtime) error {
	cluster, err := kafka.New(ctx, kafka.Config{Dir: c.Dir, Lib: c.Lib, First: c.Addr})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), javaPatience)
		defer cancel()
		if err := cluster.Stop(ctx); err != nil {
			rt.Logger.ErrorContext(ctx, "stopping Kafka", "error", err)
		}
	}()
	if err := cluster.Start(ctx); err != nil {
		return err
	}
	brokers := strings.Join(cluster.Addrs(kafka.Client), ",")
	fmt.Fprintf(os.Stdout, "Apache Kafka listens on %s\n", brokers)
	if len(c.Command) > 0 {
		return with(ctx, c.Command, "KAFKA_BROKERS="+brokers, "TEST_KAFKA_BROKERS="+brokers)
	}
	select {
	case <-ctx.Done():
		return nil
	case ended := <-cluster.Ended():
		return errors.Join(fmt.Errorf("a node has ended (logs: %s)", c.Dir), ended.Err())
	}
}

// with runs a command to its end.
func with(ctx context.Context, args []string, env ...string) error {
	if args[0] == "--" {
		args = args[1:]
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends what it has started
	cmd.WaitDelay = javaPatience
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running %s: %w", args[0], err)
	}
	return nil
}
