package schemas_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/compat"
	"github.com/revstream/revstream/schemas/contract"
)

// released returns the files of a folder's released/ by what they are versions of: forecast.v1.2.avsc is the second text of
// forecast.v1.avsc. Like golden bytes they are only ever added to: somebody has built on them.
func released(t *testing.T, folder, ext string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "released", "*"+ext))
	require.NoError(t, err)
	versions := map[string][]string{}
	for _, file := range files {
		base := strings.TrimSuffix(filepath.Base(file), ext)
		dot := strings.LastIndex(base, ".")
		require.Positive(t, dot, "%s: is not called <name>.<number>%s", file, ext)
		versions[base[:dot]] = append(versions[base[:dot]], base[dot+1:])
	}
	for name, numbers := range versions {
		for i := range numbers {
			require.Contains(t, numbers, strconv.Itoa(i+1), "%s: a released version is missing", name)
			versions[name][i] = filepath.Join(folder, "released", fmt.Sprintf("%s.%d%s", name, i+1, ext))
		}
	}
	return versions
}

// release adds a text as the next version, where it is another than the last one, or says that it is missing.
func release(t *testing.T, folder, name, ext string, versions []string, text string) {
	t.Helper()
	if len(versions) > 0 && read(t, versions[len(versions)-1]) == text {
		return
	}
	next := filepath.Join(folder, "released", fmt.Sprintf("%s.%d%s", name, len(versions)+1, ext))
	if *add {
		require.NoError(t, os.WriteFile(next, []byte(text), 0o644))
		return
	}
	require.Fail(t, "not released", "%s%s breaks nobody, and from now on has to stay readable: go test ./schemas -run %s -add writes %s", name, ext, t.Name(), next)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

// TestNoContractBreaksItsReaders holds the contracts to those that were released.
func TestNoContractBreaksItsReaders(t *testing.T) {
	t.Parallel()
	current, err := contract.Files(schemas.Contracts())
	require.NoError(t, err)
	var last []contract.Contract
	versions := released(t, "contracts", ".yaml")
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		var before contract.Contract
		for i, file := range versions[name] {
			c, err := contract.Parse(file, []byte(read(t, file)))
			require.NoError(t, err)
			require.Equal(t, name, c.Name, file)
			if i > 0 {
				require.NoError(t, contract.Breaking(contract.Diff(before, c)), file)
			}
			before = c
		}
		last = append(last, before)
	}
	require.NoError(t, contract.Breaking(contract.DiffAll(last, current)), "who retires a contract that nobody reads any more deletes its released files with it")
	for _, c := range current {
		text, err := fs.ReadFile(schemas.Contracts(), c.Name+".yaml")
		require.NoError(t, err)
		release(t, "contracts", c.Name, ".yaml", versions[c.Name], string(text))
	}
}

// TestNoSchemaBreaksItsSubscribers holds the schemas to every text that may stand in a registry, and to what subscribers have declared.
func TestNoSchemaBreaksItsSubscribers(t *testing.T) {
	t.Parallel()
	contracts, err := contract.Files(schemas.Contracts())
	require.NoError(t, err)
	subscribers, undeclared := compat.Subscribers(schemas.Subscribers())
	subscribers = append(subscribers, compat.OfContracts(contracts)...)
	topics, err := schemas.Topics()
	require.NoError(t, err)
	versions := released(t, "avro", ".avsc")
	files, err := filepath.Glob("avro/*.avsc")
	require.NoError(t, err)
	var errs []error
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".avsc")
		current := compat.Text{File: file, Text: read(t, file)}
		var before []compat.Text
		for _, v := range versions[name] {
			before = append(before, compat.Text{File: v, Text: read(t, v)})
		}
		theirs := slices.DeleteFunc(slices.Clone(subscribers), func(s compat.Subscriber) bool {
			return !slices.ContainsFunc(topics, func(t schemas.Topic) bool { return t.Name == s.Topic && t.Schema == filepath.Base(file) })
		})
		errs = append(errs, compat.Check(current, before, theirs))
	}
	require.NoError(t, errors.Join(append(errs, undeclared)...), "put the change into a schema for a topic of the next version, beside this one")
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".avsc")
		release(t, "avro", name, ".avsc", versions[name], read(t, file))
		delete(versions, name)
	}
	require.Empty(t, versions, "a released schema is gone")
}
