package secret

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"

	"github.com/alecthomas/kong"
)

// KongOption gives every flag of type Ref whose tag says env:"NAME" the form NAME_FILE too, and says so in --help.
func KongOption() kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		if err := kong.Resolvers(kong.ResolverFunc(resolveFile)).Apply(k); err != nil {
			return err
		}
		return kong.PostBuild(func(k *kong.Kong) error {
			return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
				if flag, ok := node.(*kong.Flag); ok && isRef(flag) && len(flag.Envs) > 0 {
					flag.Help += fmt.Sprintf(" A path in $%s_FILE or a runtimevar URL will do too.", flag.Envs[0])
					if flag.PlaceHolder == "" {
						flag.PlaceHolder = "SECRET"
					}
				}
				return next(nil)
			})
		}).Apply(k)
	})
}

func isRef(flag *kong.Flag) bool { return flag.Target.Type() == reflect.TypeFor[Ref]() }

// resolveFile turns NAME_FILE into a file:// reference. The file is opened here already, as a path with a typing
// error should end the process at once and by the variable's name.
func resolveFile(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !isRef(flag) {
		return nil, nil
	}
	for _, name := range flag.Envs {
		path := os.Getenv(name + "_FILE")
		if path == "" {
			continue
		}
		if os.Getenv(name) != "" {
			return nil, fmt.Errorf("both %s and %s_FILE are set: unset one of them", name, name)
		}
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("%s_FILE: %w", name, err)
		}
		_ = file.Close() // opened to see that it can be
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("%s_FILE: %w", name, err)
		}
		return (&url.URL{Scheme: "file", Path: abs}).String(), nil
	}
	return nil, nil
}
