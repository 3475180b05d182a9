package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/revstream/revstream/pipeline/secret"
)

// Command is the check command of a program's command line. Embed it in the program's settings as a kong command.
type Command struct {
	JSON bool `name:"json" help:"Print one JSON document instead of lines."`

	invalid map[string]error // what is wrong with a setting, by its variable
}

// BeforeReset is kong's hook before it reads the settings. A check has to run with settings that are missing or wrong, and to
// say so in its own lines; kong would end the process. So nothing is required, and a value that cannot be read is
// remembered and left out. Nor does a check serve metrics where the service does, by whose side it may run.
func (c *Command) BeforeReset(ctx *kong.Context) error {
	c.invalid = map[string]error{}
	for _, flag := range ctx.Flags() {
		flag.Required = false
		if flag.Name == "http-addr" {
			flag.Envs, flag.Tag.Envs, flag.HasDefault, flag.Default = nil, nil, false, ""
		}
		for _, name := range flag.Envs {
			if err := readable(flag, name); err != nil {
				c.invalid[name] = err
				flag.Envs, flag.Tag.Envs = nil, nil
			}
		}
	}
	return nil
}

// BeforeApply is kong's hook before it validates the settings by the methods of their types, which it finds by way of the
// Target: see Valid.
func (c *Command) BeforeApply(ctx *kong.Context) error {
	for _, path := range ctx.Path {
		if node := path.Node(); node != nil {
			node.Target = reflect.ValueOf(&struct{}{}).Elem()
		}
	}
	return nil
}

// readable tries to read a flag's variable, as kong and the secrets' resolver will.
func readable(flag *kong.Flag, name string) error {
	value, set := os.LookupEnv(name)
	if flag.Target.Type() == reflect.TypeFor[secret.Ref]() {
		path := os.Getenv(name + "_FILE")
		switch {
		case path == "":
			return nil
		case value != "":
			return fmt.Errorf("both %s and %s_FILE are set: unset one of them", name, name)
		}
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("%s_FILE: %w", name, err)
		}
		return file.Close()
	}
	if !set {
		return nil
	}
	probe := reflect.New(flag.Target.Type()).Elem()
	wasSet := flag.Set
	err := flag.Parse(kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: value}), probe)
	flag.Set = wasSet
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if allowed := flag.EnumSlice(); flag.Enum != "" && !slices.Contains(allowed, value) {
		return fmt.Errorf("%s: must be one of %s", name, strings.Join(allowed, ", "))
	}
	return nil
}

// Given is a check that a setting has a value, which it does not show.
func (c *Command) Given(name, variable string, given bool) Check {
	return Check{Name: name, Run: func(context.Context) Result {
		if err := c.take(variable); err != nil {
			return failed("set it right", "%v", err)
		}
		if !given {
			return failed("set "+variable, "MISSING")
		}
		return passed("Set")
	}}
}

// Secret is a check that a secret can be had, which it does not show.
func (c *Command) Secret(name, variable string, ref secret.Ref) Check {
	return Check{Name: name, Run: func(ctx context.Context) Result {
		if err := c.take(variable); err != nil {
			return failed("set it right", "%v", err)
		}
		way := fmt.Sprintf("set %s, or %s_FILE to the path of a file that holds it", variable, variable)
		if ref == "" {
			return failed(way, "MISSING")
		}
		_, err := secret.Read(ctx, variable, ref)
		switch {
		case errors.Is(err, secret.ErrMissing):
			return failed(way, "EMPTY: %v", err)
		case err != nil:
			return failed("make the reference right, or let this process read what it refers to", "%v", err)
		}
		return passed("Set")
	}}
}

// take hands over what is wrong with a setting to the check that is about it.
func (c *Command) take(variable string) error {
	err := c.invalid[variable]
	delete(c.invalid, variable)
	return err
}

// Valid is a check that all other settings can be used. It comes after those about single settings.
func (c *Command) Valid(validate func() error) Check {
	return Check{Name: "Settings Valid", Run: func(context.Context) Result {
		errs := []error{validate()}
		for _, name := range slices.Sorted(maps.Keys(c.invalid)) {
			errs = append(errs, c.invalid[name])
		}
		if err := errors.Join(errs...); err != nil {
			return failed("set them right", "%v", err)
		}
		return passed("Yes")
	}}
}

// Print writes a report in the form that was asked for. Its error says that a check failed.
func (c *Command) Print(w io.Writer, report Report) error {
	if c.JSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(report); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	} else {
		for _, r := range report.Checks {
			if _, err := fmt.Fprintln(w, r); err != nil {
				return fmt.Errorf("writing the report: %w", err)
			}
		}
	}
	if n := report.Failed(); n > 0 {
		return fmt.Errorf("not ready: %d of %d checks failed", n, len(report.Checks))
	}
	return nil
}
