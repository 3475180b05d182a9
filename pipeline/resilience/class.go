package resilience

import (
	"context"
	"errors"
	"io"
	"net"
)

// Class says what ends an outage.
type Class string

// The classes.
const (
	Passes   Class = "passes"   // it passes by itself
	Operator Class = "operator" // somebody has to mend something
	Unknown  Class = "unknown"  // no table has it: waited for like the others, and reported sooner
)

// ClassOf returns the class that an error states by a method Class() Class. What the network and deadlines say passes;
// what an open circuit
// breaker refuses passes with what opened it; all else is unknown.
func ClassOf(err error) Class {
	if stated, ok := errors.AsType[interface {
		error
		Class() Class
	}](err); ok {
		return stated.Class()
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, ErrCircuitOpen) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Passes
	}
	return Unknown
}
