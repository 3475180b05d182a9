package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/revstream/revstream/pipeline/secret"
)

// Config is what every binary's settings embed.
type Config struct {
	HTTPAddr        string        `name:"http-addr" env:"HTTP_ADDR" default:"${http_addr}" help:"Address of /healthz, /readyz, /health and /metrics; none if empty." group:"Process"`
	LogLevel        slog.Level    `name:"log-level" env:"LOG_LEVEL" default:"info" help:"debug, info, warn or error." group:"Process"`
	ShutdownTimeout time.Duration `name:"shutdown-timeout" env:"SHUTDOWN_TIMEOUT" default:"25s" help:"How long the process may take to stop after a SIGTERM." group:"Process"`
	Pprof           bool          `name:"pprof" env:"PPROF" help:"Serve /debug/pprof/." group:"Process"`

	Version kong.VersionFlag `name:"version" help:"Print the version and exit." group:"Process"`
}

func (c *Config) daemon() *Config { return c }

// Settings is a pointer to a binary's settings: a struct for kong that embeds Config.
type Settings interface{ daemon() *Config }

// errHelped is returned by parse after --help or --version: the process is done.
var errHelped = errors.New("help was asked for")

// parse fills settings from args and the environment. Its error is one line that names the variable and the flag.
func parse(name, description string, settings Settings, args []string, out io.Writer, opts []kong.Option) (*kong.Context, error) {
	helped := false
	parser, err := kong.New(settings, append([]kong.Option{
		kong.Name(name),
		kong.Description(description),
		kong.Vars{"http_addr": "", "kafka_client_id": name, "version": name + " " + Version()},
		kong.Writers(out, out),
		kong.Exit(func(int) { helped = true; panic(errHelped) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		secret.KongOption(),
	}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("building the command line: %w", err)
	}
	ctx, err := parseOrHelp(parser, args)
	if helped {
		return nil, errHelped
	}
	if err != nil {
		return nil, describe(err)
	}
	return ctx, nil
}

// parseOrHelp stops kong where it wants to exit the process: after it has printed the help or the version.
func parseOrHelp(parser *kong.Kong, args []string) (ctx *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil && r != any(errHelped) {
			panic(r)
		}
	}()
	return parser.Parse(args)
}

// describe puts the environment variable into a kong error, which speaks of flags only.
func describe(err error) error {
	var parseErr *kong.ParseError
	if !errors.As(err, &parseErr) || parseErr.Context == nil {
		return err
	}
	var missing []string
	for _, flag := range parseErr.Context.Flags() {
		if flag.Required && !flag.Set && len(flag.Envs) > 0 {
			missing = append(missing, required(flag))
		}
	}
	if strings.HasPrefix(err.Error(), "missing flags:") && len(missing) > 0 {
		return errors.New(strings.Join(missing, "; "))
	}
	for _, flag := range parseErr.Context.Flags() {
		if len(flag.Envs) > 0 && strings.HasPrefix(err.Error(), "--"+flag.Name) && !strings.Contains(err.Error(), flag.Envs[0]) {
			return fmt.Errorf("%s: %w", flag.Envs[0], err)
		}
	}
	return err
}

func required(flag *kong.Flag) string {
	forms := "--" + flag.Name
	if flag.Target.Type() == reflect.TypeFor[secret.Ref]() {
		forms = flag.Envs[0] + "_FILE or " + forms
	}
	return fmt.Sprintf("%s is required (or %s)", flag.Envs[0], forms)
}

// oneLine joins the lines of a joined error, as an operator's first look is at the last line of a log.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}

// printError writes the line that a process ends with.
func printError(w io.Writer, name string, err error) {
	_, _ = fmt.Fprintf(w, "%s: %s\n", name, oneLine(err)) // stderr is the last resort
}
