// Package meter owns what the benchmarks read off the system under test: the counters that a program serves, what the kernel
// says of a process, and how rounds become one figure.
package meter

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of /proc/PID/stat: USER_HZ, which is 100 on every platform that Go runs on.
const clockTick = 10 * time.Millisecond

// CPU is the time that a process has had of the processors so far, in user and kernel mode.
func CPU(pid int) (time.Duration, error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("reading the processor time of process %d: %w", pid, err)
	}
	return parseStat(raw)
}

// parseStat takes utime and stime, the 14th and 15th field. The second is the program's name in parentheses, which may hold
// anything.
func parseStat(raw []byte) (time.Duration, error) {
	const utime, stime = 14 - 3, 15 - 3 // counted from what is behind the name
	end := bytes.LastIndexByte(raw, ')')
	fields := bytes.Fields(raw[end+1:])
	if end < 0 || len(fields) <= stime {
		return 0, fmt.Errorf("reading the processor time of a process: /proc has %q", raw)
	}
	ticks := int64(0)
	for _, field := range []int{utime, stime} {
		n, err := strconv.ParseInt(string(fields[field]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the processor time of a process: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}
