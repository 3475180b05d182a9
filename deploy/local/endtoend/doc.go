// Package endtoend owns the tests of the whole pipeline as its users run it: real processes, started and stopped by the stack.
package endtoend
