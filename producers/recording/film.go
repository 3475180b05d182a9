package recording

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v4"
	"gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"
)

// A file is complete at so many exchanges or bytes, and the next one begins: a record of any length takes little memory.
const (
	maxFileExchanges = 200
	maxFileBytes     = 8 << 20
)

// film writes exchanges into one file after the other.
type film struct {
	prefix  string
	number  int
	current *cassette.Cassette
	saved   bool
	bytes   int
	total   int // bytes in all files
}

// newFilm names the files after the time, so that those of several runs are in order.
func newFilm(dir string, now time.Time) *film {
	return &film{prefix: filepath.Join(dir, now.UTC().Format("20060102T150405.000000Z")), saved: true}
}

func (f *film) add(i *cassette.Interaction) error {
	if f.current == nil {
		f.number++
		f.current = cassette.New(fmt.Sprintf("%s-%05d", f.prefix, f.number))
		f.current.MarshalFunc = yaml.Marshal
	}
	f.current.AddInteraction(i)
	f.saved = false
	size := len(i.Request.URL) + len(i.Request.Body) + len(i.Response.Body) + 1024 // the headers, about
	f.bytes += size
	f.total += size
	if len(f.current.Interactions) < maxFileExchanges && f.bytes < maxFileBytes {
		return nil
	}
	err := f.save()
	f.current, f.bytes = nil, 0
	return err
}

func (f *film) save() error {
	if f.saved {
		return nil
	}
	f.saved = true
	if err := f.current.SaveWithFS(disk{cassette.NewDiskFS()}); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// disk writes files that their owner alone can read, whole or not at all.
type disk struct{ cassette.FS }

func (disk) WriteFile(name string, data []byte) error {
	if err := os.WriteFile(name+".part", data, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}
