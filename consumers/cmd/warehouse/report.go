package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"github.com/revstream/revstream/consumers/contracts"
	"github.com/revstream/revstream/consumers/report"
	"github.com/revstream/revstream/pipeline/daemon"
)

type reportCommand struct {
	Report report.Config `embed:""`

	Out   string `name:"out" default:"report.html" placeholder:"FILE" help:"File to write the page to."`
	Serve string `name:"serve" placeholder:"[HOST:]PORT" help:"Serve the page there instead, made anew at most every 30 seconds. Without a host, for this machine alone."`
	JSON  bool   `name:"json" help:"Print what the page shows as JSON, and write no page."`
}

// AfterApply has the page's address as that of the process: there is one HTTP server.
func (c *reportCommand) AfterApply(ctx *kong.Context) error {
	if c.Serve == "" {
		return nil
	}
	s, err := settingsOf(ctx)
	if err != nil {
		return err
	}
	s.HTTPAddr, err = address(c.Serve)
	return err
}

// address adds the host that is meant where none is given.
func address(serve string) (string, error) {
	host, port, err := net.SplitHostPort(serve)
	if err != nil {
		host, port, err = net.SplitHostPort(":" + serve)
	}
	if err != nil {
		return "", fmt.Errorf("--serve wants a port or HOST:PORT, such as 8108 or 0.0.0.0:8108: %w", err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

func (c *reportCommand) run(ctx context.Context, w *warehouse) error {
	if c.Serve != "" && c.JSON {
		return errors.New("--serve and --json exclude one another")
	}
	conn, err := w.open(ctx)
	if err != nil {
		return err
	}
	promised, err := contracts.Promised()
	if err != nil {
		return err
	}
	reporter, err := report.New(c.Report, w.logger, conn, promised, daemon.Version())
	if err != nil {
		return err
	}
	if c.Serve != "" {
		w.rt.Handle("GET /{$}", report.NewHandler(reporter, w.logger))
		w.rt.Check("clickhouse", ping(conn))
		w.rt.Go("report", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		return nil
	}
	rep, err := reporter.Run(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		encoder := json.NewEncoder(w.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(rep)
	}
	page, err := rep.Page()
	if err != nil {
		return err
	}
	if err := replace(c.Out, page); err != nil {
		return err
	}
	for _, p := range rep.Problems {
		fmt.Fprintf(w.out, "%s: %s\n", p.Severity, p.Title)
	}
	fmt.Fprintf(w.out, "wrote %s\n", c.Out)
	return nil
}

// replace writes a file such that whoever reads it meanwhile has the one before or this one.
func replace(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it has another name by then, or the error below says why not
	_, err = file.Write(content)
	err = errors.Join(err, file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
