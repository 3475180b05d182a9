package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

// drift of a simulator: how much changes by itself, and how often.
const (
	driftInterval = 5 * time.Second
	driftChanges  = 5
)

// requestPatience is how long requests in hand may take when stopping.
const requestPatience = 10 * time.Second

type clariCommand struct {
	Addr   string     `name:"addr" env:"CLARI_ADDR" default:"127.0.0.1:8091" help:"Address of the API."`
	APIKey secret.Ref `name:"clari-api-key" env:"CLARI_API_KEY" required:"" placeholder:"SECRET" help:"Key that requests must carry."`
	Seed   uint64     `name:"seed" env:"SIM_SEED" default:"1" help:"Seed of the data."`
	Users  int        `name:"users" env:"SIM_USERS" default:"50" help:"Users; each has forecasts in every field, week and quarter."`
	Drift  bool       `name:"drift" env:"SIM_DRIFT" default:"true" negatable:"" help:"Change some entries every few seconds."`
	Set    switches   `name:"set" placeholder:"NAME=VALUE" help:"Switch of the simulator, such as BearerAuth=true, FlatJobs=true, RejectCRM=true, MonthlyQuota=30, StartedFor=5s or Chaos={\"HTML\":0.1}: the fields of claritest.Config. Repeat it for several."`

	Recording string `name:"recording" type:"existingdir" placeholder:"DIR" help:"Answer from what a producer wrote to its HTTP_RECORD_DIR; the other settings do not count then."`
}

func (c *clariCommand) run(ctx context.Context, rt *daemon.Runtime) error {
	if c.Recording != "" {
		replay, err := claritest.LoadRecording(c.Recording)
		if err != nil {
			return fmt.Errorf("--recording: %w", err)
		}
		return serve(ctx, rt, c.Addr, replay)
	}
	key, err := secret.Read(ctx, "CLARI_API_KEY", c.APIKey)
	if err != nil {
		return err
	}
	cfg := claritest.Config{Seed: c.Seed, APIKey: key, Users: c.Users}
	if err := c.Set.apply(&cfg); err != nil {
		return err
	}
	sim, err := claritest.New(cfg)
	if err != nil {
		return err
	}
	if c.Drift {
		drift(rt, func() error { _, err := sim.Update(claritest.Update{Entries: driftChanges}); return err })
	}
	return serve(ctx, rt, c.Addr, sim)
}

type salesloftCommand struct {
	Addr   string     `name:"addr" env:"SALESLOFT_ADDR" default:"127.0.0.1:8092" help:"Address of the API."`
	APIKey secret.Ref `name:"salesloft-api-key" env:"SALESLOFT_API_KEY" placeholder:"SECRET" help:"API key that requests may carry; it does not expire."`
	Client struct {
		ID           string     `name:"salesloft-client-id" env:"SALESLOFT_CLIENT_ID" placeholder:"ID" help:"OAuth client that may ask for tokens."`
		Secret       secret.Ref `name:"salesloft-client-secret" env:"SALESLOFT_CLIENT_SECRET" placeholder:"SECRET" help:"The OAuth client's secret."`
		RefreshToken secret.Ref `name:"salesloft-refresh-token" env:"SALESLOFT_REFRESH_TOKEN" placeholder:"SECRET" help:"The first refresh token; it is revoked when it is used."`
	} `embed:""`
	Seed   uint64   `name:"seed" env:"SIM_SEED" default:"1" help:"Seed of the data."`
	People string   `name:"people" env:"SIM_PEOPLE" default:"2000" placeholder:"N|FILE" help:"How many people to generate, or a file with a recorded answer of GET /v2/people to serve instead."`
	Drift  bool     `name:"drift" env:"SIM_DRIFT" default:"true" negatable:"" help:"Change some people every few seconds, with webhooks."`
	Set    switches `name:"set" placeholder:"NAME=VALUE" help:"Switch of the simulator, such as RetryAfter=true, TokenTTL=5s, ShuffleTies=true or ClientID=x (with ClientSecret and RefreshToken): the fields of salesloftest.Config. Repeat it for several."`

	Recording string `name:"recording" type:"existingdir" placeholder:"DIR" help:"Answer from what a producer wrote to its HTTP_RECORD_DIR; the other settings do not count then."`
}

func (c *salesloftCommand) run(ctx context.Context, rt *daemon.Runtime) error {
	if c.Recording != "" {
		replay, err := salesloftest.LoadRecording(c.Recording)
		if err != nil {
			return fmt.Errorf("--recording: %w", err)
		}
		return serve(ctx, rt, c.Addr, replay)
	}
	count, notANumber := strconv.Atoi(c.People)
	cfg := salesloftest.Config{Seed: c.Seed, People: count, ClientID: c.Client.ID}
	if err := c.credentials(ctx, &cfg); err != nil {
		return err
	}
	if err := c.Set.apply(&cfg); err != nil {
		return err
	}
	sim, err := salesloftest.New(cfg)
	if err != nil {
		return err
	}
	rt.Defer("webhooks", func(context.Context) error { sim.Close(); return nil })
	recorded := notANumber != nil
	if recorded {
		if err := load(sim, c.People); err != nil {
			return err
		}
	}
	// Recorded people stay as they were recorded.
	if c.Drift && !recorded {
		drift(rt, func() error { _, err := sim.Update(salesloftest.Change{Count: driftChanges}); return err })
	}
	return serve(ctx, rt, c.Addr, sim)
}

// credentials reads those that are set.
func (c *salesloftCommand) credentials(ctx context.Context, cfg *salesloftest.Config) error {
	var key string
	for _, credential := range []struct {
		name string
		ref  secret.Ref
		into *string
	}{
		{"SALESLOFT_API_KEY", c.APIKey, &key},
		{"SALESLOFT_CLIENT_SECRET", c.Client.Secret, &cfg.ClientSecret},
		{"SALESLOFT_REFRESH_TOKEN", c.Client.RefreshToken, &cfg.RefreshToken},
	} {
		if credential.ref == "" {
			continue
		}
		var err error
		if *credential.into, err = secret.Read(ctx, credential.name, credential.ref); err != nil {
			return err
		}
	}
	if key != "" {
		cfg.APIKeys = []string{key}
	}
	return nil
}

func load(sim *salesloftest.Simulator, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("SIM_PEOPLE (--people) is neither a number nor a file: %w", err)
	}
	defer file.Close()
	if err := sim.LoadRecorded(file); err != nil {
		return fmt.Errorf("SIM_PEOPLE (--people): reading %s: %w", path, err)
	}
	return nil
}

// switches set fields of a simulator's configuration by their names.
type switches map[string]string

// apply puts them into cfg, a pointer to the configuration.
func (s switches) apply(cfg any) error {
	fields := make(map[string]any, len(s))
	for name, text := range s {
		fields[name] = text
		if d, err := time.ParseDuration(text); err == nil {
			fields[name] = d
		}
		if json.Valid([]byte(text)) {
			fields[name] = json.RawMessage(text)
		}
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("--set: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(cfg); err != nil {
		return fmt.Errorf("--set: %w", err)
	}
	return nil
}

func drift(rt *daemon.Runtime, change func() error) {
	rt.Go("drift", func(ctx context.Context) error {
		ticker := time.NewTicker(driftInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
				if err := change(); err != nil {
					return fmt.Errorf("changing the data: %w", err)
				}
			}
		}
	})
}

// serve answers on addr until the process stops.
func serve(ctx context.Context, rt *daemon.Runtime, addr string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use; choose another with --addr", addr)
	}
	if err != nil {
		return fmt.Errorf("listening on %s (--addr): %w", addr, err)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(rt.Logger.Handler(), slog.LevelWarn),
	}
	rt.Go("simulator", func(ctx context.Context) error {
		failed := make(chan error, 1)
		go func() { failed <- server.Serve(listener) }()
		select {
		case err := <-failed:
			return fmt.Errorf("serving: %w", err)
		case <-ctx.Done():
		}
		deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestPatience)
		defer cancel()
		return server.Shutdown(deadline)
	})
	return nil
}
