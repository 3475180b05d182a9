// Package deadletter owns the dead-letter topics: the format of their records, and their writer.
//
// A dead letter lies on <topic>.dlq with the original's key, value and headers,
// byte for byte, and with dlq-* headers that say what went wrong. Taking those
// away gives the original back.
package deadletter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
)

// prefix of the headers that a dead letter adds. The headers of a replay have
// it too, so that a record which fails again comes back with its history.
const prefix = "dlq-"

// Names of the headers. Times are RFC 3339 in UTC; numbers are decimal.
const (
	headerReason       = prefix + "reason"
	headerMessage      = prefix + "message"
	headerStage        = prefix + "stage"
	headerTopic        = prefix + "topic"
	headerPartition    = prefix + "partition"
	headerOffset       = prefix + "offset"
	headerTimestamp    = prefix + "timestamp"
	headerGroup        = prefix + "group"
	headerVersion      = prefix + "version"
	headerAttempts     = prefix + "attempts"
	headerFirstFailure = prefix + "first-failure"
	headerLastFailure  = prefix + "last-failure"
	headerEventID      = prefix + "event-id"
	headerCorrelation  = prefix + "correlation-id"
	headerReplays      = prefix + "replays"
	headerReplayID     = prefix + "replay-id"
	headerImportedFrom = prefix + "imported-from"
)

// Suffix of a dead-letter topic.
const Suffix = ".dlq"

// StageProduce is the stage of a record of a source that never became an event. Its original was on no topic: partition
// and offset are -1, and its value is what the source sent.
const StageProduce consume.Stage = "produce"

// ErrNotALetter is returned by Parse for a record without the headers of a
// dead letter.
var ErrNotALetter = errors.New("the record is not a dead letter")

// Letter is a dead letter, taken apart.
type Letter struct {
	// Where the letter itself lies.
	Partition int32
	Offset    int64

	// The original.
	Topic             string
	OriginalPartition int32
	OriginalOffset    int64
	Timestamp         time.Time
	Key, Value        []byte
	Headers           []kgo.RecordHeader // without the dlq-* ones

	// Why it is here. Message names fields, never values.
	Reason, Message, Stage string
	Group, Version         string // consumer group, and the version of the consumer
	Attempts               int    // how often a consumer failed on it
	FirstFailure           time.Time
	LastFailure            time.Time
	EventID, CorrelationID string // as the original's headers had them; may be empty
	Replays                int    // how often it was replayed before it came back
	ReplayID               string // of the last replay
	// ImportedFrom is where the letter lay that this one was imported from: <DLQ topic>/<partition>/<offset>. Empty for
	// one that a consumer has put here.
	ImportedFrom string
}

// Parse takes a record of a dead-letter topic apart.
func Parse(rec *kgo.Record) (Letter, error) {
	l := Letter{Partition: rec.Partition, Offset: rec.Offset, Key: rec.Key, Value: rec.Value}
	added := make(map[string]string)
	for _, h := range rec.Headers {
		if strings.HasPrefix(h.Key, prefix) {
			added[h.Key] = string(h.Value)
		} else {
			l.Headers = append(l.Headers, h)
		}
	}
	if added[headerReason] == "" || added[headerTopic] == "" {
		return Letter{}, fmt.Errorf("%w: partition %d offset %d", ErrNotALetter, rec.Partition, rec.Offset)
	}
	l.Topic, l.Reason, l.Message, l.Stage = added[headerTopic], added[headerReason], added[headerMessage], added[headerStage]
	l.Group, l.Version = added[headerGroup], added[headerVersion]
	l.EventID, l.CorrelationID, l.ReplayID = added[headerEventID], added[headerCorrelation], added[headerReplayID]
	l.ImportedFrom = added[headerImportedFrom]

	var errs []error
	number := func(name string, bits int) int64 {
		n, err := strconv.ParseInt(added[name], 10, bits)
		if err != nil {
			errs = append(errs, fmt.Errorf("header %s is not a number", name))
		}
		return n
	}
	moment := func(name string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, added[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("header %s is not a time", name))
		}
		return at
	}
	l.OriginalPartition, l.OriginalOffset = int32(number(headerPartition, 32)), number(headerOffset, 64)
	l.Attempts, l.Replays = int(number(headerAttempts, 32)), int(number(headerReplays, 32))
	l.Timestamp, l.FirstFailure, l.LastFailure = moment(headerTimestamp), moment(headerFirstFailure), moment(headerLastFailure)
	if err := errors.Join(errs...); err != nil {
		return Letter{}, fmt.Errorf("reading the dead letter at partition %d offset %d: %w", rec.Partition, rec.Offset, err)
	}
	return l, nil
}

// Replay returns the record that puts the original back on its topic. Beside
// the original's bytes it carries what a consumer hands back if it fails again:
// how often it was replayed, by which replay, and when it first failed.
func (l Letter) Replay(replayID string) *kgo.Record {
	headers := append([]kgo.RecordHeader(nil), l.Headers...)
	return &kgo.Record{
		Topic: l.Topic, Key: l.Key, Value: l.Value,
		Headers: append(headers,
			header(headerReplays, strconv.Itoa(l.Replays+1)),
			header(headerReplayID, replayID),
			header(headerFirstFailure, stamp(l.FirstFailure)),
		),
	}
}

// Record returns the letter as the record of its dead-letter topic that Parse takes apart.
func (l Letter) Record() *kgo.Record {
	headers := append(make([]kgo.RecordHeader, 0, len(l.Headers)+17), l.Headers...)
	headers = append(headers,
		header(headerReason, l.Reason),
		header(headerMessage, l.Message),
		header(headerStage, l.Stage),
		header(headerTopic, l.Topic),
		header(headerPartition, strconv.Itoa(int(l.OriginalPartition))),
		header(headerOffset, strconv.FormatInt(l.OriginalOffset, 10)),
		header(headerTimestamp, stamp(l.Timestamp)),
		header(headerGroup, l.Group),
		header(headerVersion, l.Version),
		header(headerAttempts, strconv.Itoa(l.Attempts)),
		header(headerFirstFailure, stamp(l.FirstFailure)),
		header(headerLastFailure, stamp(l.LastFailure)),
		header(headerEventID, l.EventID),
		header(headerCorrelation, l.CorrelationID),
		header(headerReplays, strconv.Itoa(l.Replays)),
		header(headerReplayID, l.ReplayID),
	)
	if l.ImportedFrom != "" {
		headers = append(headers, header(headerImportedFrom, l.ImportedFrom))
	}
	return &kgo.Record{Topic: l.Topic + Suffix, Key: l.Key, Value: l.Value, Headers: headers}
}

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

// The times that RFC 3339 can write. A record's timestamp may be any 64 bits.
var (
	firstStamp = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	lastStamp  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

func stamp(at time.Time) string {
	switch at = at.UTC(); {
	case at.Before(firstStamp):
		at = firstStamp
	case at.After(lastStamp):
		at = lastStamp
	}
	return at.Format(time.RFC3339Nano)
}
