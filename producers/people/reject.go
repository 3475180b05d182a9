package people

import (
	"errors"

	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/schemas/people"
)

// ErrTooManyRejected is returned by RunOnce and SyncRange when so many records can never be published that it is more likely
// the format of them all that has changed. Those that it names have been dead-lettered but for the last page of them.
var ErrTooManyRejected = errors.New("too many records of the source were rejected")

// Reasons of dead letters.
const (
	reasonMalformed = "malformed" // it is no person that could be read
	reasonInvalid   = "invalid"   // a person that no event can carry
)

// rejection is a record of the source as a dead letter. id is 0 when not even that could be read.
func rejection(id int64, raw []byte, reason string, err error, correlationID string) publish.Rejection {
	r := publish.Rejection{Raw: raw, Reason: reason, Err: err, CorrelationID: correlationID}
	if id > 0 {
		r.Key = (&people.Person{PersonID: id}).Key()
	}
	return r
}
