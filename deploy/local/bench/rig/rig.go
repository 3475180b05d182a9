// Package rig owns the processes of a benchmark: the warehouse and the registry, brokers with a loaded topic each, and the
// programs that are measured, with what they are asked in plain SQL.
package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/revstream/revstream/deploy/embedded/clickhouse"
	"github.com/revstream/revstream/deploy/local/ports"
	"github.com/revstream/revstream/deploy/local/process"
)

const (
	startPatience = time.Minute
	stopPatience  = 40 * time.Second
	tick          = 10 * time.Millisecond
)

// database of the warehouse.
const database = "revenue"

// Config says what to run.
type Config struct {
	Dir     string // data and logs
	BinDir  string // the programs
	ChdbLib string // the engine's library; empty: it is looked for
}

// Rig is the system under test.
type Rig struct {
	cfg    Config
	logger *slog.Logger
	client *http.Client

	Engine   *process.Process // ClickHouse
	registry *process.Process
	addrs    struct{ engine, registry string }
	brokers  []*Broker
	programs []*process.Process // that were started and not stopped
}

// New starts the registry and ClickHouse, and makes the tables. Close ends everything, also after an error.
func New(ctx context.Context, cfg Config, logger *slog.Logger) (*Rig, error) {
	r := &Rig{cfg: cfg, logger: logger, client: &http.Client{Timeout: 10 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}}
	for _, start := range []func(context.Context) error{r.findLibrary, r.startRegistry, r.startEngine} {
		if err := start(ctx); err != nil {
			return r, err
		}
	}
	return r, r.run(ctx, nil, "warehouse", "migrate")
}

// findLibrary comes first: without it nothing can be measured, and the error says what to do.
func (r *Rig) findLibrary(context.Context) (err error) {
	if r.cfg.ChdbLib == "" {
		r.cfg.ChdbLib, err = clickhouse.FindLibrary(r.cfg.BinDir, ".")
	}
	return err
}

func (r *Rig) startRegistry(ctx context.Context) (err error) {
	if r.addrs.registry, err = ports.Free(ctx); err != nil {
		return err
	}
	r.registry, err = r.launch("registry", nil, "embedded", "registry", "--addr="+r.addrs.registry, "--data-dir="+filepath.Join(r.cfg.Dir, "registry"))
	if err != nil {
		return err
	}
	return r.await(ctx, r.registry, func(ctx context.Context) error { return r.get(ctx, r.RegistryURL()+"/subjects") })
}

func (r *Rig) startEngine(ctx context.Context) (err error) {
	if r.addrs.engine, err = ports.Free(ctx); err != nil {
		return err
	}
	r.Engine, err = r.launch("clickhouse", nil, "embedded", "clickhouse", "--addr="+r.addrs.engine,
		"--data-dir="+filepath.Join(r.cfg.Dir, "clickhouse"), "--chdb-lib="+r.cfg.ChdbLib)
	if err != nil {
		return err
	}
	return r.await(ctx, r.Engine, func(ctx context.Context) error { return r.get(ctx, "http://"+r.addrs.engine+"/ping") })
}

// RegistryURL is where the schema registry is.
func (r *Rig) RegistryURL() string { return "http://" + r.addrs.registry }

// ClickHouseURL is the warehouse with its database.
func (r *Rig) ClickHouseURL() string { return "http://" + r.addrs.engine + "/" + database }

// environment of a program: the settings and nothing of the caller's that could mean another system.
func (r *Rig) environment(more []string) []string {
	env := []string{"HTTP_ADDR=", "LOG_LEVEL=warn", "SCHEMA_REGISTRY_URL=" + r.RegistryURL(), "CLICKHOUSE_URL=" + r.ClickHouseURL()}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return append(env, more...)
}

// Start starts a program that serves its metrics at the returned address; env comes on top of the rig's settings.
func (r *Rig) Start(ctx context.Context, name string, env []string, args ...string) (*process.Process, string, error) {
	addr, err := ports.Free(ctx)
	if err != nil {
		return nil, "", err
	}
	p, err := r.launch(name, append(slices.Clone(env), "HTTP_ADDR="+addr), args...)
	return p, addr, err
}

// Simulator starts the simulator of a source and returns the address of its API.
func (r *Rig) Simulator(ctx context.Context, source string, env []string, args ...string) (*process.Process, string, error) {
	addr, err := ports.Free(ctx)
	if err != nil {
		return nil, "", err
	}
	p, err := r.launch(source, env, slices.Concat([]string{"revstream-local", "sim", source, "--addr=" + addr}, args)...)
	if err != nil {
		return nil, "", err
	}
	return p, addr, r.await(ctx, p, func(ctx context.Context) error { return r.get(ctx, "http://"+addr+"/_sim/stats") })
}

func (r *Rig) launch(name string, env []string, args ...string) (*process.Process, error) {
	args[0] = filepath.Join(r.cfg.BinDir, args[0])
	p, err := process.Start(process.Spec{Name: name, Args: args, Env: r.environment(env), Log: filepath.Join(r.cfg.Dir, "logs", name+".log")})
	if err == nil {
		r.programs = append(r.programs, p)
	}
	return p, err
}

// Stop ends a program in order.
func (r *Rig) Stop(ctx context.Context, p *process.Process) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	err := p.Stop(ctx)
	r.programs = slices.DeleteFunc(r.programs, func(q *process.Process) bool { return p == q })
	return err
}

// run runs a program to its end.
func (r *Rig) run(ctx context.Context, env []string, program string, args ...string) error {
	_, err := r.Command(ctx, env, program, args...).Output()
	return Ended(program, err)
}

// Command is a program that ends by itself; env comes on top of the rig's settings.
func (r *Rig) Command(ctx context.Context, env []string, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(r.cfg.BinDir, program), args...)
	cmd.Env = r.environment(env)
	return cmd
}

// Ended adds to the error with which a command has ended what it last said.
func Ended(program string, err error) error {
	if err == nil {
		return nil
	}
	last := ""
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		last = ": " + lines[len(lines)-1]
	}
	return fmt.Errorf("running %s: %w%s", program, err, last)
}

// await waits until a process serves.
func (r *Rig) await(ctx context.Context, p *process.Process, up func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return Poll(ctx, p, tick, func(ctx context.Context) (bool, error) { return up(ctx) == nil, nil })
}

// Poll asks again and again until the answer is yes, an error, or that the process has ended.
func Poll(ctx context.Context, p *process.Process, every time.Duration, ask func(context.Context) (bool, error)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if done, err := ask(ctx); err != nil || done {
			return err
		}
		select {
		case <-ticker.C:
		case <-p.Exited():
			return errors.Join(fmt.Errorf("%s has ended", p.Name()), p.Err())
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", p.Name(), context.Cause(ctx))
		}
	}
}

func (r *Rig) get(ctx context.Context, url string) error {
	_, err := r.send(ctx, http.MethodGet, url, nil)
	return err
}

func (r *Rig) send(ctx context.Context, method, url string, body io.Reader) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", url, err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", url, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(text))
	}
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", url, err)
	}
	return strings.TrimSuffix(string(text), "\n"), nil
}

// SQL runs a statement and returns the answer as text with tabs, or in the format that it asks for.
func (r *Rig) SQL(ctx context.Context, statement string) (string, error) {
	answer, err := r.send(ctx, http.MethodPost, "http://"+r.addrs.engine+"/?database="+database, strings.NewReader(statement))
	if err != nil {
		return "", fmt.Errorf("%s: %w", statement, err)
	}
	return answer, nil
}

// Number runs a statement whose answer is a whole number.
func (r *Rig) Number(ctx context.Context, statement string) (int64, error) {
	answer, err := r.SQL(ctx, statement)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(answer, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", statement, err)
	}
	return n, nil
}

// Quiet waits until ClickHouse merges nothing: what one measurement has left to do must not run in the next.
func (r *Rig) Quiet(ctx context.Context) error {
	quiet := 0
	return Poll(ctx, r.Engine, 50*time.Millisecond, func(ctx context.Context) (bool, error) {
		busy, err := r.Number(ctx, "SELECT count() FROM system.merges")
		if quiet++; busy > 0 {
			quiet = 0
		}
		return quiet == 5, err
	})
}

// Close ends everything.
func (r *Rig) Close() error {
	var errs []error
	for _, p := range slices.Backward(r.programs) {
		errs = append(errs, p.Kill()) // the data is of no use
	}
	for _, b := range r.brokers {
		b.client.Close()
	}
	r.client.CloseIdleConnections()
	return errors.Join(errs...)
}
