// Package mutants owns consumers that are wrong on purpose: the checker of the fault runs must catch every one of them.
//
// They are edits of the sources that only the compiler sees, through go build's overlay: the code that ships has no
// switch that would make it wrong.
package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Mutant is a consumer with a known mistake.
type Mutant struct {
	Name    string
	Mistake string
	Shows   string // field of the report that must not be 0
	edits   []edit
}

// edit replaces the one place in a file that reads so.
type edit struct{ file, old, new string }

// All are the mutants.
var All = []Mutant{
	{
		Name: "offsets-first", Mistake: "offsets are committed before the inserts", Shows: "lost",
		edits: []edit{{"pipeline/consume/settle.go", "\tstart := time.Now()\n", "\tstart := time.Now()\n\t_ = l.leases.commit(ctx, client, b.shares)\n"}},
	},
	{
		Name: "ledger-first", Mistake: "the ledger is written before the tables", Shows: "lost",
		edits: []edit{{
			"pipeline/clickhousesink/sink.go", "\tcurrent, history := make(chan error, 1), make(chan error, 1)\n",
			"\tif err := s.run(ctx, &s.ledger, r.ids, r.origin); err != nil {\n\t\treturn err\n\t}\n\tcurrent, history := make(chan error, 1), make(chan error, 1)\n",
		}},
	},
	{
		Name: "no-dedupe", Mistake: "the history is a plain MergeTree and nobody asks the ledger", Shows: "doubled",
		edits: []edit{
			{"pipeline/clickhousesink/sink.go", "\tfresh := s.without(r, known)\n", "\tfresh := s.without(r, nil)\n\t_ = known\n"},
			{"consumers/migrations/00001_forecast.sql", "ENGINE = ReplacingMergeTree\nORDER BY (forecast_id", "ENGINE = MergeTree\nORDER BY (forecast_id"},
			{"consumers/migrations/00002_people.sql", "ENGINE = ReplacingMergeTree\nORDER BY (person_id", "ENGINE = MergeTree\nORDER BY (person_id"},
		},
	},
	{
		Name: "arrival-wins", Mistake: "the version of a row is when it arrived", Shows: "stale",
		edits: []edit{
			{"consumers/migrations/00001_forecast.sql", "version UInt128 MATERIALIZED toUInt128(event_id)", "version Int64 MATERIALIZED toUnixTimestamp64Nano(now64(9))"},
			{"consumers/migrations/00002_people.sql", "version UInt128 MATERIALIZED toUInt128(event_id)", "version Int64 MATERIALIZED toUnixTimestamp64Nano(now64(9))"},
		},
	},
	{
		Name: "outage-is-poison", Mistake: "a batch is dead-lettered when the database is away", Shows: "dlq_wrong",
		edits: []edit{
			{
				"pipeline/consume/settle.go", "\t\t\trefused, err = b.events.Store(ctx)\n\t\t\treturn err\n",
				"\t\t\tif refused, err = b.events.Store(ctx); err != nil {\n\t\t\t\tfor _, e := range b.records {\n" +
					"\t\t\t\t\trefused = append(refused, Refused{Place: b.place(e), Reason: \"sink_rejected\", Failed: time.Now()})\n" +
					"\t\t\t\t}\n\t\t\t}\n\t\t\treturn nil\n",
			},
			{"pipeline/consume/settle.go", "\tif l.cfg.PoisonShare == 1 {\n", "\tif l.cfg.PoisonShare <= 1 {\n"}, // the cap would stop it
		},
	},
}

// Build builds the programs of bin into dir, with the consumers of a mutant.
func Build(ctx context.Context, m Mutant, root, bin, dir string) error {
	sources, err := os.MkdirTemp("", "revstream-mutant-")
	if err != nil {
		return fmt.Errorf("making a folder for mutant %s: %w", m.Name, err)
	}
	defer func() { _ = os.RemoveAll(sources) }() // a temporary folder
	overlay, err := m.overlay(root, sources)
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(bin)); err != nil {
		return fmt.Errorf("copying the programs for mutant %s: %w", m.Name, err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-overlay", overlay, "-o", dir+string(filepath.Separator), "./consumers/cmd/...")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building mutant %s: %w\n%s", m.Name, err, out)
	}
	return nil
}

// overlay writes the edited files, and the file that tells go build of them.
func (m Mutant) overlay(root, dir string) (string, error) {
	texts := make(map[string]string)
	for _, e := range m.edits {
		path := filepath.Join(root, e.file)
		if _, ok := texts[path]; !ok {
			raw, err := os.ReadFile(path)
			if err != nil {
				return "", fmt.Errorf("reading what mutant %s edits: %w", m.Name, err)
			}
			texts[path] = string(raw)
		}
		if n := strings.Count(texts[path], e.old); n != 1 {
			return "", fmt.Errorf("mutant %s is out of date: %s has %d places that read %q, not 1", m.Name, e.file, n, e.old)
		}
		texts[path] = strings.Replace(texts[path], e.old, e.new, 1)
	}
	replace := make(map[string]string)
	for path, text := range texts {
		edited := filepath.Join(dir, fmt.Sprintf("%d-%s", len(replace), filepath.Base(path)))
		if err := os.WriteFile(edited, []byte(text), 0o644); err != nil {
			return "", fmt.Errorf("writing mutant %s: %w", m.Name, err)
		}
		replace[path] = edited
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("describing mutant %s: %w", m.Name, err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, raw, 0o644)
}
