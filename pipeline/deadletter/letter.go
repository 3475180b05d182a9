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
	headerImportedFrom = prefix + "imported-from"
)

// HeaderReplayID names the header of a record that a replay has put on its topic again: the replay's ID.
const HeaderReplayID = prefix + "replay-id"

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

// Parse takes a record of a dead-letter topic apart. The letter shares the record's memory.
func Parse(rec *kgo.Record) (Letter, error) {
	l := Letter{Partition: rec.Partition, Offset: rec.Offset, Key: rec.Key, Value: rec.Value}
	var n numbers
	for i, h := range rec.Headers {
		if !strings.HasPrefix(h.Key, prefix) {
			if len(l.Headers) == i { // as the writer orders them: no need of a copy
				l.Headers = rec.Headers[: i+1 : i+1]
			} else {
				l.Headers = append(l.Headers, h)
			}
		} else if text := l.text(h.Key); text != nil {
			*text = string(h.Value)
		} else {
			n.take(h)
		}
	}
	if l.Reason == "" || l.Topic == "" {
		return Letter{}, fmt.Errorf("%w: partition %d offset %d", ErrNotALetter, rec.Partition, rec.Offset)
	}
	l.OriginalPartition, l.OriginalOffset = int32(n.number(headerPartition, n.partition, 32)), n.number(headerOffset, n.offset, 64)
	l.Attempts, l.Replays = int(n.number(headerAttempts, n.attempts, 32)), int(n.number(headerReplays, n.replays, 32))
	l.Timestamp, l.FirstFailure = n.moment(headerTimestamp, n.timestamp), n.moment(headerFirstFailure, n.firstFailure)
	l.LastFailure = n.moment(headerLastFailure, n.lastFailure)
	if err := errors.Join(n.errs...); err != nil {
		return Letter{}, fmt.Errorf("reading the dead letter at partition %d offset %d: %w", rec.Partition, rec.Offset, err)
	}
	return l, nil
}

// text returns the field that a header's text goes into; nil if it is not one of text.
func (l *Letter) text(header string) *string {
	switch header {
	case headerReason:
		return &l.Reason
	case headerMessage:
		return &l.Message
	case headerStage:
		return &l.Stage
	case headerTopic:
		return &l.Topic
	case headerGroup:
		return &l.Group
	case headerVersion:
		return &l.Version
	case headerEventID:
		return &l.EventID
	case headerCorrelation:
		return &l.CorrelationID
	case HeaderReplayID:
		return &l.ReplayID
	case headerImportedFrom:
		return &l.ImportedFrom
	default:
		return nil
	}
}

// numbers are the headers that are numbers and times, and what is wrong with them. Letters are read by the million, so
// they are not gathered in a map.
type numbers struct {
	partition, offset, timestamp, attempts, firstFailure, lastFailure, replays []byte

	errs []error
}

func (n *numbers) take(h kgo.RecordHeader) {
	switch h.Key {
	case headerPartition:
		n.partition = h.Value
	case headerOffset:
		n.offset = h.Value
	case headerTimestamp:
		n.timestamp = h.Value
	case headerAttempts:
		n.attempts = h.Value
	case headerFirstFailure:
		n.firstFailure = h.Value
	case headerLastFailure:
		n.lastFailure = h.Value
	case headerReplays:
		n.replays = h.Value
	}
}

func (n *numbers) number(name string, value []byte, bits int) int64 {
	i, err := strconv.ParseInt(string(value), 10, bits)
	if err != nil {
		n.errs = append(n.errs, fmt.Errorf("header %s is not a number", name))
	}
	return i
}

func (n *numbers) moment(name string, value []byte) time.Time {
	at, err := time.Parse(time.RFC3339Nano, string(value))
	if err != nil {
		n.errs = append(n.errs, fmt.Errorf("header %s is not a time", name))
	}
	return at
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
			header(HeaderReplayID, replayID),
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
		header(HeaderReplayID, l.ReplayID),
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
