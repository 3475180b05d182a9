package forecast

import (
	"os"
	"runtime/debug"
)

// What the Go runtime may have before it collects garbage more often than it else would: what the process needs beside the keys
// that it knows, and these. Without a limit it would use twice as much.
const (
	leastMemory  = 64 << 20
	memoryBeside = 40 << 20
	memoryPerKey = 21
)

// LimitMemory sets the memory limit of the Go runtime for a process that exports, and returns a Deps.Keys that raises it with the
// number of keys. GOMEMLIMIT overrides both.
func LimitMemory() (keys func(n int)) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func(int) {}
	}
	limit := func(n int) { debug.SetMemoryLimit(max(leastMemory, memoryBeside+int64(n)*memoryPerKey)) }
	limit(0)
	return limit
}
