package verify

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// Program is the client that topics are read with.
const Program = "kcat"

// ErrNoProgram is returned where kcat is not installed.
var ErrNoProgram = errors.New("kcat is not installed (Debian and Ubuntu: apt-get install kcat; macOS: brew install kcat)")

// Record is a committed record as kcat reads it.
type Record struct {
	Partition  int32
	Offset     int64
	Key, Value []byte // nil for null
	headers    string // as kcat prints them: name=value,name=value
}

// Header returns a header's value, or "" if there is none. It is for headers whose values have no comma.
func (r Record) Header(name string) string {
	value := ""
	for header := range strings.SplitSeq(r.headers, ",") {
		if v, ok := strings.CutPrefix(header, name+"="); ok {
			value = v
		}
	}
	return value
}

// Scan hands over every committed record of a topic up to its present end, each partition in order.
func Scan(ctx context.Context, brokers []string, topic string, each func(Record) error) error {
	_, err := consume(ctx, brokers, []string{"-t", topic, "-o", "beginning"}, each)
	if err != nil {
		return fmt.Errorf("reading topic %s: %w", topic, err)
	}
	return nil
}

// Tail returns the committed records of a partition from an offset on, and the offset where to go on.
func Tail(ctx context.Context, brokers []string, topic string, partition int32, from int64) (records []Record, next int64, err error) {
	ends, err := consume(ctx, brokers, place(topic, partition, from), func(r Record) error {
		if r.Offset >= from {
			records = append(records, r)
		}
		return nil
	})
	if err == nil && ends[partition] < from {
		err = fmt.Errorf("the partition ends at offset %d", ends[partition])
	}
	if err != nil {
		return nil, from, fmt.Errorf("reading topic %s partition %d from offset %d: %w", topic, partition, from, err)
	}
	return records, ends[partition], nil
}

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// Read returns the committed records of a partition in [from, to). Offsets may be missing: those of transactions' markers,
// of what was aborted or compacted. It is an error if the partition ends before to.
func Read(ctx context.Context, brokers []string, topic string, partition int32, from, to int64) ([]Record, error) {
	if from >= to {
		return nil, nil
	}
	var records []Record
	ends, err := consume(ctx, brokers, place(topic, partition, from), func(r Record) error {
		if r.Offset >= from && r.Offset < to {
			records = append(records, r)
		}
		if r.Offset >= to-1 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return records, nil
	}
	if err == nil && ends[partition] < to {
		err = fmt.Errorf("the partition ends at offset %d", ends[partition])
	}
	if err != nil {
		return nil, fmt.Errorf("reading topic %s partition %d from offset %d to %d: %w", topic, partition, from, to, err)
	}
	return records, nil
}

func place(topic string, partition int32, from int64) []string {
	return []string{"-t", topic, "-p", strconv.Itoa(int(partition)), "-o", strconv.FormatInt(from, 10)}
}

// consume runs kcat until it has reached the end of all partitions that args name, and returns where those are. If each
// returns an error, it ends kcat and returns that.
func consume(ctx context.Context, brokers, args []string, each func(Record) error) (ends map[int32]int64, err error) {
	if _, err := exec.LookPath(Program); err != nil {
		return nil, ErrNoProgram
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Headers have no length, so they end with what nobody can have written.
	mark := rand.Text()
	cmd := exec.CommandContext(ctx, Program, append([]string{
		"-C", "-b", strings.Join(brokers, ","), "-e", "-f", `%p %o %K %S\n%k%s%h` + mark + `\n`,
		"-X", "isolation.level=read_committed", "-X", "auto.offset.reset=earliest", "-X", "allow.auto.create.topics=false",
		"-X", "fetch.wait.max.ms=50", "-X", "check.crcs=true",
	}, args...)...)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting kcat: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting kcat: %w", err)
	}
	failed := records(bufio.NewReaderSize(out, 1<<20), mark, each)
	if failed != nil {
		stop()
	}
	ended := cmd.Wait()
	switch {
	case failed != nil && !errors.Is(failed, errShort):
		return nil, failed
	case ended != nil:
		return nil, fmt.Errorf("running kcat: %w: %s", errors.Join(ended, context.Cause(ctx)), strings.TrimSpace(messages.String()))
	case failed != nil:
		return nil, failed
	}
	return reached(messages.Bytes())
}

// errShort says that kcat's output ends within a record, as when kcat is killed.
var errShort = errors.New("the output of kcat ends within a record")

// records takes kcat's output apart.
func records(in *bufio.Reader, mark string, each func(Record) error) error {
	for {
		line, err := in.ReadString('\n')
		switch {
		case errors.Is(err, io.EOF) && line == "":
			return nil
		case errors.Is(err, io.EOF):
			return errShort
		case err != nil:
			return fmt.Errorf("reading the output of kcat: %w", err)
		}
		var rec Record
		var keySize, valueSize int
		if _, err := fmt.Sscanf(line, "%d %d %d %d\n", &rec.Partition, &rec.Offset, &keySize, &valueSize); err != nil {
			return fmt.Errorf("kcat wrote a line of another form: %w", err)
		}
		if rec.Key, err = field(in, keySize); err != nil {
			return err
		}
		if rec.Value, err = field(in, valueSize); err != nil {
			return err
		}
		var headers []byte
		for !bytes.HasSuffix(headers, []byte(mark+"\n")) {
			part, err := in.ReadBytes('\n')
			if err != nil {
				return errShort
			}
			headers = append(headers, part...)
		}
		rec.headers = string(headers[:len(headers)-len(mark)-1])
		if err := each(rec); err != nil {
			return err
		}
	}
}

// field reads a key or a value. A negative size is kcat's for null.
func field(in *bufio.Reader, size int) ([]byte, error) {
	if size < 0 {
		return nil, nil
	}
	field := make([]byte, size)
	if _, err := io.ReadFull(in, field); err != nil {
		return nil, errShort
	}
	return field, nil
}

var reachedEnd = regexp.MustCompile(`Reached end of topic \S+ \[(\d+)\] at offset (\d+)`)

// reached reads the ends of partitions off kcat's messages.
func reached(messages []byte) (map[int32]int64, error) {
	ends := make(map[int32]int64)
	for _, match := range reachedEnd.FindAllSubmatch(messages, -1) {
		partition, err := strconv.ParseInt(string(match[1]), 10, 32)
		offset, err2 := strconv.ParseInt(string(match[2]), 10, 64)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("reading the messages of kcat: %w", err)
		}
		ends[int32(partition)] = offset
	}
	if len(ends) == 0 {
		return nil, fmt.Errorf("kcat has not reached an end: %s", bytes.TrimSpace(messages))
	}
	return ends, nil
}
