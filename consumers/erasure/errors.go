package erasure

import "errors"

// Errors of Erase, before it has changed anything.
var (
	// ErrAlive is returned for a person whom the source has not deleted: the next change would bring them back.
	ErrAlive = errors.New("the source has not deleted the person")
	// ErrUnknown is returned for a person of whom the warehouse has nothing.
	ErrUnknown = errors.New("the warehouse has nothing of the person")
)
