// Package check owns the readiness script of the producers: what must be right before one goes live, tried one by one.
package check

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Status is what came out of a check.
type Status string

// The statuses. A Warn is what works, but not as it should, or could not be found out.
const (
	Pass Status = "PASS"
	Warn Status = "WARN"
	Fail Status = "FAIL"
	Skip Status = "SKIP" // another check, which this one needs, has not passed
)

const (
	total = 30 * time.Second // for everything
	each  = 8 * time.Second  // for one check
)

// Check is one thing that is tried.
type Check struct {
	Name  string
	Needs []string // names of checks that come before this one, without whose success it says nothing
	// Run tries. It may use what the checks that it needs have found. A Fail says what to do about it.
	Run func(ctx context.Context) Result
}

// Result is what came out of a check. Messages hold no secret and no personal data.
type Result struct {
	Name      string `json:"name"`
	Status    Status `json:"status"`
	Message   string `json:"message"`
	LatencyMS *int64 `json:"latency_ms,omitempty"` // of connections
}

func (r Result) String() string {
	line := fmt.Sprintf("[%s] %s: %s", r.Status, r.Name, r.Message)
	if r.LatencyMS != nil {
		line += fmt.Sprintf(" (%d ms)", *r.LatencyMS)
	}
	return line
}

func result(status Status, format string, args []any) Result {
	message := fmt.Sprintf(format, args...)
	return Result{Status: status, Message: strings.Join(strings.Fields(strings.ReplaceAll(message, "\n", "; ")), " ")}
}

func passed(format string, args ...any) Result { return result(Pass, format, args) }
func warned(format string, args ...any) Result { return result(Warn, format, args) }

// failed takes what is wrong, and what to do about it.
func failed(wayOut, format string, args ...any) Result {
	r := result(Fail, format, args)
	r.Message += " — " + wayOut
	return r
}

// connected is a Pass with how long it took since start.
func connected(start time.Time) Result {
	ms := time.Since(start).Milliseconds()
	return Result{Status: Pass, Message: "Connected", LatencyMS: &ms}
}

// Report is what came out of all of them.
type Report struct {
	Status Status   `json:"status"` // Fail if one failed, else Warn if one warned, else Pass
	Checks []Result `json:"checks"`
}

// Failed counts the checks that failed.
func (r Report) Failed() int { return r.count(Fail) }

func (r Report) count(status Status) int {
	n := 0
	for _, c := range r.Checks {
		if c.Status == status {
			n++
		}
	}
	return n
}

// Run runs the first checks one after the other, then those of each system one after the other, all systems at the same
// time, and returns in their order what came out. Nothing stops it, and it ends within half a minute.
func Run(ctx context.Context, first []Check, systems ...[]Check) Report {
	ctx, cancel := context.WithTimeout(ctx, total)
	defer cancel()
	r := runner{status: map[string]Status{}}
	report := Report{Checks: r.run(ctx, first)}
	results := make([][]Result, len(systems))
	var wg sync.WaitGroup
	for i, checks := range systems {
		wg.Go(func() { results[i] = r.run(ctx, checks) })
	}
	wg.Wait()
	for _, found := range results {
		report.Checks = append(report.Checks, found...)
	}
	switch {
	case report.count(Fail) > 0:
		report.Status = Fail
	case report.count(Warn) > 0:
		report.Status = Warn
	default:
		report.Status = Pass
	}
	return report
}

type runner struct {
	mu     sync.Mutex
	status map[string]Status // of the checks that have run, by name
}

func (r *runner) run(ctx context.Context, checks []Check) []Result {
	results := make([]Result, 0, len(checks))
	for _, c := range checks {
		found := r.one(ctx, c)
		found.Name = c.Name
		r.mu.Lock()
		r.status[c.Name] = found.Status
		r.mu.Unlock()
		results = append(results, found)
	}
	return results
}

func (r *runner) one(ctx context.Context, c Check) Result {
	r.mu.Lock()
	var missing []string
	for _, need := range c.Needs {
		if s := r.status[need]; s != Pass && s != Warn {
			missing = append(missing, need)
		}
	}
	r.mu.Unlock()
	if len(missing) > 0 {
		return result(Skip, "needs %s", []any{strings.Join(missing, " and ")})
	}
	if ctx.Err() != nil {
		return failed("run it again once the checks that were slow are mended", "NOT TRIED: there was no time left")
	}
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	return c.Run(ctx)
}
