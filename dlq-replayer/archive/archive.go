// Package archive owns the files that dead letters are exported to and imported from: JSON lines, and Parquet.
package archive

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/revstream/revstream/pipeline/deadletter"
)

// Formats of files.
const (
	JSONLines = "jsonl"   // a letter a line
	Parquet   = "parquet" // flat columns of the same names
)

// ErrMasked is returned by Next for a letter that was exported without its bytes.
var ErrMasked = errors.New("was exported without the bytes of its value, as these may hold personal data: export it again with --reveal")

// Record is a letter as it is exported.
type Record struct {
	ID     string // <topic>/<partition>/<offset>: the original topic, and the place on its dead-letter topic
	State  string
	Letter deadletter.Letter
	Schema int // ID in the registry of the schema that wrote the value; 0 if the value names none
	// Value is the decoded value as JSON, masked unless the writer reveals; empty if it cannot be decoded, for which
	// Undecodable says why.
	Value       string
	Undecodable string
}

// FormatOf tells a file's format from its name.
func FormatOf(path string) (string, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson", ".json":
		return JSONLines, nil
	case ".parquet":
		return Parquet, nil
	}
	if path == "-" {
		return JSONLines, nil
	}
	return "", fmt.Errorf("the name of %s does not tell its format: let it end in .jsonl or .parquet", path)
}
