package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
)

// row is a letter in a file: the members of a line's object, and the columns of a table, under the same names.
type row struct {
	ID                string   `json:"id" parquet:"id"`
	State             string   `json:"state" parquet:"state,dict"`
	Topic             string   `json:"topic" parquet:"topic,dict"`
	Partition         int32    `json:"partition" parquet:"partition"`
	Offset            int64    `json:"offset" parquet:"offset"`
	OriginalPartition int32    `json:"original_partition" parquet:"original_partition"`
	OriginalOffset    int64    `json:"original_offset" parquet:"original_offset"`
	Timestamp         moment   `json:"timestamp" parquet:"timestamp,timestamp(microsecond)"`
	Reason            string   `json:"reason" parquet:"reason,dict"`
	Message           string   `json:"message" parquet:"message"`
	Stage             string   `json:"stage" parquet:"stage,dict"`
	Group             string   `json:"group" parquet:"group,dict"`
	Version           string   `json:"version" parquet:"version,dict"`
	Attempts          int32    `json:"attempts" parquet:"attempts"`
	FirstFailure      moment   `json:"first_failure" parquet:"first_failure,timestamp(microsecond)"`
	LastFailure       moment   `json:"last_failure" parquet:"last_failure,timestamp(microsecond)"`
	EventID           string   `json:"event_id" parquet:"event_id"`
	CorrelationID     string   `json:"correlation_id" parquet:"correlation_id"`
	Replays           int32    `json:"replays" parquet:"replays"`
	ReplayID          string   `json:"replay_id" parquet:"replay_id"`
	Key               *string  `json:"key" parquet:"key,optional"`                       // null also for one that is no text
	KeyBytes          []byte   `json:"key_bytes,omitempty" parquet:"key_bytes,optional"` // of one that is no text
	Headers           document `json:"headers" parquet:"headers"`                        // a JSON array of header
	Schema            int64    `json:"schema" parquet:"schema"`
	Value             document `json:"value" parquet:"value,optional"`
	Undecodable       string   `json:"undecodable" parquet:"undecodable"`
	Masked            bool     `json:"masked" parquet:"masked"`         // the value's bytes are left out
	ValueSize         int64    `json:"value_size" parquet:"value_size"` // bytes; -1 for null, which deletes a key
	ValueBytes        []byte   `json:"value_bytes" parquet:"value_bytes,optional"`
	Checksum          int64    `json:"checksum" parquet:"checksum"` // CRC-32 of what is imported
}

// header is one of the original's headers, in their order. What is no text is in the bytes.
type header struct {
	Name       string  `json:"name"`
	NameBytes  []byte  `json:"name_bytes,omitempty"`
	Value      *string `json:"value"`
	ValueBytes []byte  `json:"value_bytes,omitempty"`
}

// moment is a time in microseconds since 1970, which is what tables hold.
type moment int64

// The times that JSON can write. A record's timestamp may be any 64 bits.
var (
	firstMoment = moment(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	lastMoment  = moment(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMicro())
)

func momentOf(at time.Time) moment { return min(max(moment(at.UnixMicro()), firstMoment), lastMoment) }

func (m moment) time() time.Time { return time.UnixMicro(int64(m)).UTC() }

// MarshalJSON implements json.Marshaler.
func (m moment) MarshalJSON() ([]byte, error) { return m.time().MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(raw []byte) error {
	var at time.Time
	if err := at.UnmarshalJSON(raw); err != nil {
		return errors.New("a time is not one of RFC 3339") // the error would quote it
	}
	*m = momentOf(at)
	return nil
}

// document is JSON: an object or array in a line, its text in a table.
type document string

// MarshalJSON implements json.Marshaler.
func (d document) MarshalJSON() ([]byte, error) {
	if d == "" {
		return []byte("null"), nil
	}
	return []byte(d), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *document) UnmarshalJSON(raw []byte) error {
	if *d = document(raw); *d == "null" {
		*d = ""
	}
	return nil
}

// text splits bytes into what text columns hold, and what they do not.
func text(b []byte) (*string, []byte) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		return new(string(b)), nil
	default:
		return nil, b
	}
}

func untext(s *string, b []byte) []byte {
	if s != nil {
		return []byte(*s)
	}
	return b
}

func newRow(rec Record, reveal bool) (row, error) {
	l := rec.Letter
	headers, err := encodeHeaders(l.Headers)
	if err != nil {
		return row{}, err
	}
	valid := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
	r := row{
		ID: rec.ID, State: rec.State, Topic: valid(l.Topic), Partition: l.Partition, Offset: l.Offset,
		OriginalPartition: l.OriginalPartition, OriginalOffset: l.OriginalOffset, Timestamp: momentOf(l.Timestamp),
		Reason: valid(l.Reason), Message: valid(l.Message), Stage: valid(l.Stage), Group: valid(l.Group), Version: valid(l.Version),
		Attempts: int32(l.Attempts), FirstFailure: momentOf(l.FirstFailure), LastFailure: momentOf(l.LastFailure),
		EventID: valid(l.EventID), CorrelationID: valid(l.CorrelationID), Replays: int32(l.Replays), ReplayID: valid(l.ReplayID),
		Headers: headers, Schema: int64(rec.Schema), Value: document(rec.Value), Undecodable: rec.Undecodable,
		Masked: !reveal, ValueSize: size(l.Value),
	}
	r.Key, r.KeyBytes = text(l.Key)
	if reveal {
		r.ValueBytes = l.Value
	}
	r.Checksum, err = r.checksum()
	return r, err
}

// checksum is what Checksum must be. It leaves out what no import takes, and what programs that pick lines write in forms of their
// own.
func (r *row) checksum() (int64, error) {
	imported := *r
	imported.State, imported.Value, imported.Undecodable, imported.Checksum = "", "", "", 0
	raw, err := json.Marshal(&imported)
	return int64(crc32.ChecksumIEEE(raw)), err
}

func size(value []byte) int64 {
	if value == nil {
		return -1
	}
	return int64(len(value))
}

func encodeHeaders(headers []kgo.RecordHeader) (document, error) {
	list := make([]header, len(headers))
	for i, h := range headers {
		name, nameBytes := text([]byte(h.Key))
		list[i].Value, list[i].ValueBytes = text(h.Value)
		if list[i].NameBytes = nameBytes; name != nil {
			list[i].Name = *name
		}
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return "", fmt.Errorf("encoding the headers: %w", err)
	}
	return document(raw), nil
}

// letter checks a row and makes a letter of it. Its errors quote none of it.
func (r *row) letter() (deadletter.Letter, error) {
	var list []header
	switch {
	case r.Topic == "" || r.Reason == "" || r.Headers == "" || r.ID != fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset):
		return deadletter.Letter{}, errors.New("is not an exported dead letter: id, topic, partition, offset, reason or headers is missing or does not fit the others")
	case r.Partition < 0 || r.Offset < 0 || r.Attempts < 0 || r.Replays < 0:
		return deadletter.Letter{}, errors.New("has a negative partition, offset, attempts or replays")
	case r.Masked:
		return deadletter.Letter{}, ErrMasked
	case size(r.ValueBytes) != r.ValueSize:
		return deadletter.Letter{}, errors.New("is damaged: value_bytes are not as many as value_size says")
	case json.Unmarshal([]byte(r.Headers), &list) != nil:
		return deadletter.Letter{}, errors.New("is damaged: headers are no list of names and values")
	}
	if sum, err := r.checksum(); err != nil || sum != r.Checksum {
		return deadletter.Letter{}, errors.New("is damaged, or was edited: its checksum is another (repair is what changes letters)")
	}
	l := deadletter.Letter{
		Partition: r.Partition, Offset: r.Offset, Topic: r.Topic, OriginalPartition: r.OriginalPartition, OriginalOffset: r.OriginalOffset,
		Timestamp: r.Timestamp.time(), Key: untext(r.Key, r.KeyBytes), Value: r.ValueBytes, Reason: r.Reason, Message: r.Message,
		Stage: r.Stage, Group: r.Group, Version: r.Version, Attempts: int(r.Attempts), FirstFailure: r.FirstFailure.time(),
		LastFailure: r.LastFailure.time(), EventID: r.EventID, CorrelationID: r.CorrelationID, Replays: int(r.Replays), ReplayID: r.ReplayID,
	}
	for _, h := range list {
		l.Headers = append(l.Headers, kgo.RecordHeader{Key: string(untext(&h.Name, nil)), Value: untext(h.Value, h.ValueBytes)})
		if h.NameBytes != nil {
			l.Headers[len(l.Headers)-1].Key = string(h.NameBytes)
		}
	}
	return l, nil
}
