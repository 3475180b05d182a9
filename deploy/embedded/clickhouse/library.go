package clickhouse

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// FindLibrary returns the path of the libchdb that "npm ci --prefix deploy/embedded" installed: it walks up from each start
// folder until one has it.
func FindLibrary(starts ...string) (string, error) {
	platform := runtime.GOOS + "-" + map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	if runtime.GOOS == "linux" {
		platform += "-gnu"
	}
	// npm packages hold libchdb.so on every platform but may name it .dylib on macOS.
	var places []string
	for _, name := range []string{"libchdb.so", "libchdb.dylib"} {
		places = append(places, filepath.Join("deploy", "embedded", "node_modules", "@chdb", "lib-"+platform, name))
	}
	for _, start := range starts {
		dir, err := filepath.Abs(start)
		if err != nil {
			return "", fmt.Errorf("looking for the ClickHouse engine: %w", err)
		}
		for ; ; dir = filepath.Dir(dir) {
			for _, place := range places {
				path := filepath.Join(dir, place)
				if _, err := os.Stat(path); err == nil {
					return path, nil
				} else if !errors.Is(err, fs.ErrNotExist) {
					return "", fmt.Errorf("looking for the ClickHouse engine: %w", err)
				}
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("the ClickHouse engine (%s) is not installed: run \"make deps\", or set CHDB_LIB to its path", places[0])
}
