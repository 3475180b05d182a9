package wire

import (
	"errors"
	"fmt"

	"github.com/twmb/avro"
)

// ErrNotRegistered is returned by Lookup for a schema that its subject does not have.
var ErrNotRegistered = errors.New("the schema is not registered: `provision` registers it")

// Reasons why a value can never be decoded. They are the classes under which
// dead letters are counted and filtered.
const (
	ReasonTruncated     = "truncated_header"    // shorter than the five bytes of the wire header
	ReasonMagic         = "bad_magic"           // the first byte is not 0
	ReasonUnknownSchema = "unknown_schema"      // the registry does not know the schema ID
	ReasonIncompatible  = "incompatible_schema" // the writer's schema cannot be read as the reader's
	ReasonCorrupt       = "corrupt_value"       // the bytes are not what the writer's schema says
	ReasonValidation    = "validation"          // decoded, but not a valid event
)

// InvalidError says that a value can never be decoded: trying again gives the
// same answer. Its message names fields and types, never values.
type InvalidError struct {
	Class   string // one of the Reason constants
	Message string
	// Field of the writer's schema in which decoding failed, with a dot between a record and its field; empty if it failed
	// in none.
	Field string
	// At is the byte at which decoding failed, counted from the start of the whole value: where that begins which cannot be
	// read, or is cut short, which may be the value's end. It is Nowhere if that is not known.
	At int
}

// Nowhere is At of what is wrong with no byte in particular.
const Nowhere = -1

func (e *InvalidError) Error() string { return e.Class + ": " + e.Message }

// Reason returns the class. It is how the runtime, which does not know this
// package, tells a value that is poison from a registry that is away.
func (e *InvalidError) Reason() string { return e.Class }

// corrupt makes an error of a decoding error. Its place is not known yet.
func corrupt(err error) *InvalidError {
	invalid := &InvalidError{Class: ReasonCorrupt, Message: describe(err), At: Nowhere}
	if semantic, ok := errors.AsType[*avro.SemanticError](err); ok {
		invalid.Field = semantic.Field
	}
	return invalid
}

// describe renders a decoding error without the values that its causes may quote.
func describe(err error) string {
	var semantic *avro.SemanticError
	var short *avro.ShortBufferError
	switch {
	case errors.As(err, &short) && errors.As(err, &semantic) && semantic.Field != "":
		return fmt.Sprintf("field %s: the value ends within it", semantic.Field)
	case errors.As(err, &short):
		return "the value ends too early"
	case errors.As(err, &semantic) && semantic.Field != "":
		return fmt.Sprintf("field %s is not a valid %s", semantic.Field, semantic.AvroType)
	default:
		return "the value does not match its schema"
	}
}
