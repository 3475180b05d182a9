package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/revstream/revstream/consumers/contracts"
	"github.com/revstream/revstream/schemas/contract"
)

type contractCommand struct {
	Check contractCheckCommand `cmd:"" help:"Hold the live warehouse to the contracts."`
	Diff  contractDiffCommand  `cmd:"" help:"Say what is additive and what is breaking between two contracts."`
}

type contractCheckCommand struct {
	Names  []string `arg:"" optional:"" name:"name" help:"Contracts to check, such as forecast_v1; all without."`
	Dir    string   `name:"dir" type:"existingdir" placeholder:"DIR" help:"Folder of contracts (*.yaml), instead of those in this program."`
	Strict bool     `name:"strict" help:"Find fault with columns that no contract of their view names, too."`
	JSON   bool     `name:"json" help:"As one JSON object."`
}

type contractDiffCommand struct {
	Older string `arg:"" name:"older" type:"path" help:"A contract, or a folder of them."`
	Newer string `arg:"" name:"newer" type:"path" help:"What it is to become: a contract, or a folder of them, paired by name."`
	JSON  bool   `name:"json" help:"As one JSON object."`
}

func (c *contractCheckCommand) run(ctx context.Context, w *warehouse) error {
	promised, err := contracts.Promised()
	if c.Dir != "" {
		promised, err = contract.Files(os.DirFS(c.Dir))
	}
	if err != nil {
		return err
	}
	named, err := contracts.Named(promised, c.Names)
	if err != nil {
		return err
	}
	conn, err := w.open(ctx)
	if err != nil {
		return err
	}
	checker, err := contracts.New(contracts.Config{Contracts: named, Strict: c.Strict}, w.logger, conn)
	if err != nil {
		return err
	}
	report, err := checker.Run(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(w.out).Encode(report)
	} else {
		err = printChecks(w.out, report)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if broken := report.Broken(); len(broken) > 0 {
		texts := make([]string, len(broken))
		for i, b := range broken {
			texts[i] = fmt.Sprintf("%s: %s: %s", b.Contract, b.Rule, b.Found)
		}
		return found("%d rules of %d do not hold: %s", len(broken), len(report.Results), strings.Join(texts, " | "))
	}
	return nil
}

func printChecks(out io.Writer, report contracts.Report) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CONTRACT\tRULE\tOK\tFOUND\tEXPECTED")
	for _, r := range report.Results {
		verdict := "yes"
		if !r.OK {
			verdict = "NO"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Contract, r.Rule, verdict, r.Found, r.Expected)
	}
	return t.Flush()
}

func (c *contractDiffCommand) run(_ context.Context, w *warehouse) error {
	older, err := readContracts(c.Older)
	if err != nil {
		return err
	}
	newer, err := readContracts(c.Newer)
	if err != nil {
		return err
	}
	changes := contract.DiffAll(older.contracts, newer.contracts)
	if !older.folder && !newer.folder { // whatever they are called
		changes = contract.Diff(older.contracts[0], newer.contracts[0])
	}
	if c.JSON {
		err = json.NewEncoder(w.out).Encode(struct {
			Changes []contract.Change `json:"changes"`
		}{append([]contract.Change{}, changes...)})
	} else {
		err = printChanges(w.out, changes)
	}
	if err != nil {
		return fmt.Errorf("writing the changes: %w", err)
	}
	if err := contract.Breaking(changes); err != nil {
		return found("%w", err)
	}
	return nil
}

func printChanges(out io.Writer, changes []contract.Change) error {
	if len(changes) == 0 {
		fmt.Fprintln(out, "nothing changes")
		return nil
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CONTRACT\tCHANGE\tKEY\tWHAT")
	for _, c := range changes {
		kind := "additive"
		if c.Breaking {
			kind = "breaking"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", c.Contract, kind, c.Key, c.What)
	}
	return t.Flush()
}

// readings are the contracts of a path.
type readings struct {
	contracts []contract.Contract
	folder    bool
}

func readContracts(path string) (readings, error) {
	info, err := os.Stat(path)
	if err != nil {
		return readings{}, fmt.Errorf("reading a contract: %w", err)
	}
	if info.IsDir() {
		all, err := contract.Files(os.DirFS(path))
		if err == nil && len(all) == 0 {
			err = errors.New(path + " holds no contract (*.yaml)")
		}
		return readings{contracts: all, folder: true}, err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return readings{}, fmt.Errorf("reading a contract: %w", err)
	}
	one, err := contract.Parse(path, raw)
	return readings{contracts: []contract.Contract{one}}, err
}
