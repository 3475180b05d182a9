// Package registry owns an Apicurio Registry on this machine: its settings, and how it is started.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/revstream/revstream/deploy/local/process"
)

// startPatience bounds the start on a busy machine.
const startPatience = 2 * time.Minute

// Config says where the registry is.
type Config struct {
	Addr string // to listen on
	Dir  string // data and log
	Lib  string // where `make kafka` has unpacked it
}

// URL is that of the Confluent-compatible API of a registry at an address.
func URL(addr string) string { return "http://" + addr + "/apis/ccompat/v7" }

// Spec says how to start a registry, with the data of an earlier one in its folder.
func Spec(cfg Config) (spec process.Spec, err error) {
	jars, err := filepath.Glob(filepath.Join(cfg.Lib, "apicurio-registry-app-*-runner.jar"))
	if err != nil || len(jars) != 1 {
		return spec, fmt.Errorf("%s has no Apicurio Registry; `make kafka` fetches it", cfg.Lib)
	}
	host, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return spec, fmt.Errorf("the registry's address: %w", err)
	}
	return process.Spec{
		Name: "apicurio", Log: filepath.Join(cfg.Dir, "log"),
		Args: []string{
			"java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", // starts fast, and leaves the cores to others
			"-Djava.util.logging.manager=org.jboss.logmanager.LogManager", "-jar", jars[0],
		},
		Env: append(os.Environ(),
			"QUARKUS_HTTP_HOST="+host, "QUARKUS_HTTP_PORT="+port, "QUARKUS_HTTP_ACCESS_LOG_ENABLED=false",
			"APICURIO_DATASOURCE_URL=jdbc:h2:file:"+filepath.Join(cfg.Dir, "data"),
			"APICURIO_DATASOURCE_JDBC_INITIAL_SIZE=1", "APICURIO_DATASOURCE_JDBC_MIN_SIZE=1", "APICURIO_DATASOURCE_JDBC_MAX_SIZE=10"),
	}, nil
}

// Start starts the registry and waits until it answers.
func Start(ctx context.Context, cfg Config) (*process.Process, error) {
	spec, err := Spec(cfg)
	if err != nil {
		return nil, err
	}
	p, err := process.Start(spec)
	if err != nil {
		return nil, fmt.Errorf("starting Apicurio Registry (is Java 17 or newer installed?): %w", err)
	}
	if err := await(ctx, cfg, p); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

// await waits until the registry answers.
func await(ctx context.Context, cfg Config, p *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, URL(cfg.Addr)+"/subjects", nil)
		if err != nil {
			return fmt.Errorf("asking Apicurio Registry: %w", err)
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.Exited():
			return fmt.Errorf("waiting for Apicurio Registry: %w (log: %s)", p.Err(), filepath.Join(cfg.Dir, "log"))
		case <-ctx.Done():
			return fmt.Errorf("Apicurio Registry does not answer: %w (log: %s)", ctx.Err(), filepath.Join(cfg.Dir, "log"))
		case <-tick.C:
		}
	}
}
