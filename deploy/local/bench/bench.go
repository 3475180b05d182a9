// Package bench owns the measurements of the pipeline's speed: each as a ratio within one round, on the real programs as
// processes of their own, over several rounds.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/revstream/revstream/deploy/local/bench/meter"
	"github.com/revstream/revstream/deploy/local/bench/rig"
)

// Config says what to measure. What is 0 follows from Quick.
type Config struct {
	Quick  bool     `name:"quick" help:"Fewer events and rounds, to end within three minutes. Figures of such a run vary more."`
	Only   []string `name:"only" placeholder:"NAME" help:"Names of the figures to measure instead of all, as in the report."`
	Rounds int      `name:"rounds" help:"Rounds; 5, or 2 with --quick."`
	Events int      `name:"events" help:"Forecast events of a measurement; 1,000,000, or 400,000 with --quick. There are a third as many people."`
	Ledger int      `name:"ledger" help:"Events that are in the ledger before, where a large ledger is measured; 50,000,000."`
	Views  int      `name:"views" help:"Events that are in the table whose views are measured, of a tenth as many keys; 10,000,000, or 1,000,000 with --quick."`

	Dir     string `name:"dir" default:"build/bench" type:"path" help:"Folder of the run's data and logs; emptied first."`
	BinDir  string `kong:"-"` // programs
	ChdbLib string `name:"chdb-lib" env:"CHDB_LIB" placeholder:"FILE" help:"Library of the embedded ClickHouse, where it is not found by itself."`
}

func (c Config) withDefaults() (Config, error) {
	size := sizes[c.Quick]
	for _, field := range []struct {
		value *int
		size  int
	}{{&c.Rounds, size.rounds}, {&c.Events, size.events}, {&c.Ledger, size.ledger}, {&c.Views, size.views}} {
		if *field.value == 0 {
			*field.value = field.size
		}
	}
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.Rounds > 0, "--rounds must be positive")
	need(c.Events >= 1000, "--events must be at least 1000")
	need(c.Ledger >= 1000, "--ledger must be at least 1000")
	need(c.Views >= 1000, "--views must be at least 1000")
	for _, name := range c.Only {
		need(slices.ContainsFunc(Figures, func(f Figure) bool { return f.Name == name }), "--only: there is no figure "+name)
	}
	return c, errors.Join(errs...)
}

// size of a run.
type size struct {
	rounds, events, ledger, views int
	fresh                         time.Duration // for which freshness is looked at
	enough                        time.Duration // after which no further round begins; 0 for never
}

// sizes by Config.Quick.
var sizes = map[bool]size{
	false: {rounds: 5, events: 1_000_000, ledger: 50_000_000, views: 10_000_000, fresh: 20 * time.Second},
	true:  {rounds: 2, events: 400_000, ledger: 50_000_000, views: 1_000_000, fresh: 6 * time.Second, enough: 120 * time.Second},
}

// run is a run under way.
type run struct {
	cfg    Config
	size   size
	logger *slog.Logger
	out    io.Writer
	report *Report

	rig     *rig.Rig
	scraper *meter.Scraper
	round   int
	plain   *share // of forecasts, which others of the same round are held to
}

// measurement is something that is set up once and measured in every round.
type measurement struct {
	figures []string // that it is for
	setUp   func(context.Context) error
	measure func(context.Context) error

	once bool // in a run with --quick
	long bool // too long for a run with --quick, unless it is asked for
}

// Run measures, and tells out how far it is. Its error says that something could not be measured, or that what was measured
// is worth nothing because rows are missing or too many.
func Run(ctx context.Context, cfg Config, logger *slog.Logger, out io.Writer) (report *Report, err error) {
	begun := time.Now()
	r, err := open(ctx, cfg, logger, out)
	if r != nil {
		defer func() { err = errors.Join(err, r.close()) }()
	}
	if err != nil {
		return nil, err
	}
	all := r.measurements()
	for _, m := range all {
		if err := m.setUp(ctx); err != nil {
			return nil, err
		}
	}
	for r.round = range r.cfg.Rounds {
		if r.round > 0 && r.size.enough > 0 && time.Since(begun) > r.size.enough {
			r.report.Rounds = r.round
			r.say("no further round: the run would take too long")
			break
		}
		r.say("round %d of %d", r.round+1, r.cfg.Rounds)
		for _, m := range all {
			if m.once && r.cfg.Quick && r.round > 0 {
				continue
			}
			if err := m.measure(ctx); err != nil {
				return nil, fmt.Errorf("round %d: %w", r.round+1, err)
			}
		}
	}
	return r.report, r.report.finish()
}

// open empties the folder and starts the system.
func open(ctx context.Context, cfg Config, logger *slog.Logger, out io.Writer) (*run, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := empty(cfg.Dir); err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, size: sizes[cfg.Quick], logger: logger, out: out, scraper: meter.NewScraper()}
	if r.rig, err = rig.New(ctx, rig.Config{Dir: cfg.Dir, BinDir: cfg.BinDir, ChdbLib: cfg.ChdbLib}, logger); err != nil {
		return r, err
	}
	version, err := r.rig.SQL(ctx, "SELECT version()")
	if err != nil {
		return r, err
	}
	r.report = newReport(cfg, thisMachine(version))
	return r, nil
}

func (r *run) close() error {
	r.scraper.Close()
	return r.rig.Close()
}

// empty removes what an earlier run has left in its folder, and nothing else.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 && !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "clickhouse" || e.Name() == "logs" }) {
		err = errors.New("it is not empty, and not of an earlier run; choose another with --dir")
	}
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return fmt.Errorf("emptying the folder of the run, %s: %w", dir, err)
	}
	return nil
}

// say tells whoever waits how far the run is.
func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.out, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// wanted tells whether any of the figures is to be measured.
func (r *run) wanted(figures ...string) bool {
	return len(r.cfg.Only) == 0 || slices.ContainsFunc(figures, func(f string) bool { return slices.Contains(r.cfg.Only, f) })
}

// measurements are those that are wanted, in their order within a round.
func (r *run) measurements() []measurement {
	all := []measurement{r.forecasts(), r.duplicates(), r.ledger(), r.people(), r.allocs(), r.freshness(), r.producer(), r.large(), r.webhooks(), r.letters(), r.views()}
	return slices.DeleteFunc(all, func(m measurement) bool {
		return !r.wanted(m.figures...) || m.long && r.cfg.Quick && len(r.cfg.Only) == 0
	})
}

// logs says where to look.
func (r *run) logs() string { return "(logs: " + filepath.Join(r.cfg.Dir, "logs") + ")" }
