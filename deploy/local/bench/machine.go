package bench

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/revstream/revstream/pipeline/daemon"
)

// Machine is what the figures are of.
type Machine struct {
	CPU      string  `json:"cpu"`       // model
	Cores    int     `json:"cores"`     // that the run may use
	MemoryGB float64 `json:"memory_gb"` // 1,000,000,000 bytes
	Kernel   string  `json:"kernel"`
	Go       string  `json:"go"`
	Engine   string  `json:"engine"` // version of ClickHouse
	Commit   string  `json:"commit"` // of the programs
}

// String is the machine in a line.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.0f GB, %s, %s, ClickHouse %s, revstream %s", m.CPU, m.Cores, m.MemoryGB, m.Kernel, m.Go, m.Engine, m.Commit)
}

// thisMachine reads what the kernel says; what it does not say is "unknown".
func thisMachine(engine string) Machine {
	read := func(path string) []byte {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil // another system, or one that hides it
		}
		return raw
	}
	kilobytes, _ := strconv.ParseFloat(strings.TrimSuffix(field(read("/proc/meminfo"), "MemTotal"), " kB"), 64)
	kernel := string(bytes.TrimSpace(read("/proc/sys/kernel/osrelease")))
	if kernel == "" {
		kernel = "unknown"
	}
	return Machine{
		CPU: orUnknown(field(read("/proc/cpuinfo"), "model name")), Cores: runtime.GOMAXPROCS(0), MemoryGB: kilobytes * 1024 / 1e9,
		Kernel: runtime.GOOS + " " + kernel, Go: runtime.Version(), Engine: engine, Commit: daemon.Version(),
	}
}

// field is the value of the first line "name : value".
func field(text []byte, name string) string {
	for line := range bytes.Lines(text) {
		key, value, ok := strings.Cut(string(line), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
