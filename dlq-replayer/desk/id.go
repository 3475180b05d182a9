package desk

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas"
)

// ID names a dead letter by where it lies. Its text is <topic>/<partition>/<offset>, with the name of the topic that the
// letter comes from; the partition and the offset are those of the dead-letter topic.
type ID struct {
	Topic     string // original, without the suffix of its dead-letter topic
	Partition int32
	Offset    int64
}

// ParseID reads the text of an ID. The dead-letter topic's own name will do too.
func ParseID(text string) (ID, error) {
	parts := strings.Split(text, "/")
	if len(parts) == 3 && parts[0] != "" {
		partition, errPartition := strconv.ParseInt(parts[1], 10, 32)
		offset, errOffset := strconv.ParseInt(parts[2], 10, 64)
		if errPartition == nil && errOffset == nil && partition >= 0 && offset >= 0 {
			return ID{Topic: originalTopic(parts[0]), Partition: int32(partition), Offset: offset}, nil
		}
	}
	return ID{}, fmt.Errorf("%q is not the ID of a dead letter: it looks like %s/0/17", text, schemas.PeopleTopic)
}

// String implements fmt.Stringer.
func (id ID) String() string {
	return fmt.Sprintf("%s/%d/%d", id.Topic, id.Partition, id.Offset)
}

// UnmarshalText makes an ID an argument of the command line.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// log names the partition of the dead-letter topic, as in the keys of decisions.
func (id ID) log() string {
	return schemas.DLQTopic(id.Topic) + "/" + strconv.Itoa(int(id.Partition))
}

// place is where the letter lies.
func (id ID) place() deadletter.Place {
	return deadletter.Place{Topic: schemas.DLQTopic(id.Topic), Partition: id.Partition, Offset: id.Offset}
}
