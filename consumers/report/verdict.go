package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What makes a problem.
const (
	sampleAge   = 5 * time.Minute  // of the newest sample of lag, after which nobody takes any
	behindFor   = 30 * time.Minute // without having caught up, after which a consumer is behind
	checkAge    = 36 * time.Hour   // of a result that a daily task should have renewed
	contractAge = 3 * time.Hour    // of one that an hourly task should have
	anomalyAge  = 15 * time.Minute // of one that is due each minute
)

// judge says what is wrong, the worst first.
func judge(rep *Report) []Problem {
	var found []Problem
	add := func(severity, title, detail, do string) { found = append(found, Problem{severity, title, detail, do}) }
	read := func(section string) bool { return !slices.Contains(rep.Unread, section) }
	if read("freshness") {
		judgeFreshness(rep, add)
	}
	if read("export runs") {
		judgeRuns(rep, add)
	}
	if read("lag") {
		judgeLag(rep, add)
	}
	judgeLetters(rep, add)
	judgeChecks(rep, read, add)
	if read("anomalies") {
		judgeAnomalies(rep, add)
	}
	slices.SortStableFunc(found, func(a, b Problem) int { return cmp.Compare(a.Severity, b.Severity) }) // critical before warning
	return found
}

type adder func(severity, title, detail, do string)

func judgeFreshness(rep *Report, add adder) {
	for _, f := range rep.Freshness {
		if f.Late() {
			add(Critical, f.Entity+" is late", fmt.Sprintf("95 of 100 rows were in the warehouse within %s of being read; promised are %s.",
				duration(*f.Delay), duration(f.PromisedDelay)), "look at the lag below, and at `dlq-replayer stats` for consumers that have stopped")
		}
		if f.Old() {
			add(Critical, f.Entity+" is old", fmt.Sprintf("%s was last read whole %s ago; promised are %s.", f.Source, duration(*f.Age), duration(f.PromisedAge)),
				"`"+producer(f.Entity)+" check` says what is wrong with the source")
		}
	}
}

func judgeRuns(rep *Report, add adder) {
	if len(rep.Runs) == 0 {
		add(Critical, "nothing has been exported", fmt.Sprintf("No export run has ended in these %d days.", rep.Days), "start the producers, or look at why they do not run: `forecast-producer check`, `people-producer check`")
		return
	}
	for i, run := range rep.Runs {
		newest := i+1 == len(rep.Runs) || rep.Runs[i+1].Source != run.Source || rep.Runs[i+1].Entity != run.Entity
		bad := run.Failed + run.Partial
		if !newest || bad == 0 {
			continue
		}
		severity := Warning
		if run.Succeeded == 0 {
			severity = Critical
		}
		add(severity, fmt.Sprintf("%s of %s did not succeed", count(bad, "export run"), run.Entity),
			fmt.Sprintf("On %s, of %s: %d failed, %d partial.", run.Day, count(run.Runs, "run"), run.Failed, run.Partial),
			"`SELECT completed_at, outcome, error FROM export_runs WHERE outcome != 'SUCCEEDED' ORDER BY completed_at DESC LIMIT 10` says why; `"+producer(run.Entity)+" check` asks the source")
	}
}

func producer(entity string) string { return entity + "-producer" }

func judgeLag(rep *Report, add adder) {
	var newest time.Time
	for _, l := range rep.Lag {
		if l.SampledAt.After(newest) {
			newest = l.SampledAt
		}
	}
	if rep.MadeAt.Sub(newest) > sampleAge {
		detail := "No lag was sampled in these days."
		if !newest.IsZero() {
			detail = "The last sample of the lag is " + duration(rep.MadeAt.Sub(newest).Seconds()) + " old."
		}
		add(Warning, "nobody is watching", detail, "run `warehouse watch`; its /readyz says what keeps it from sampling")
		return
	}
	for _, l := range rep.Lag {
		behind := rep.MadeAt.Sub(rep.From)
		if l.CaughtUp != nil {
			behind = rep.MadeAt.Sub(*l.CaughtUp)
		} else if len(l.Points) > 0 {
			behind = rep.MadeAt.Sub(l.Points[0].At)
		}
		if l.Now > 0 && behind > behindFor {
			add(Critical, l.Group+" is behind", fmt.Sprintf("%s of %s wait, and it has not caught up for %s.", count(l.Now, "record"), l.Topic, duration(behind.Seconds())),
				"look whether the consumer runs and what its /readyz says; `dlq-replayer stats` names one that its poison cap has stopped")
		}
	}
}

func judgeLetters(rep *Report, add adder) {
	var open int64
	var reasons []string
	for _, l := range rep.Letters.Open {
		open += l.Letters
		if !slices.Contains(reasons, l.Reason) {
			reasons = append(reasons, l.Reason)
		}
	}
	if open > 0 {
		add(Warning, count(open, "dead letter")+" open", "Reasons: "+strings.Join(reasons, ", ")+".", "`dlq-replayer list` shows them; replay, repair or discard them")
	}
}

func judgeChecks(rep *Report, read func(string) bool, add adder) {
	var reconciled, checked time.Time
	for _, r := range rep.Reconciliation {
		reconciled = latest(reconciled, r.CheckedAt)
		if r.Gap > 0 {
			add(Critical, fmt.Sprintf("%s of %s missing", count(r.Gap, "row"), r.Entity), fmt.Sprintf("The reconciliation of %s found them on the topic or told by the source, and not in the warehouse.", stamp(r.CheckedAt)),
				"`warehouse reconcile` lists their keys")
		}
	}
	for _, c := range rep.Contracts {
		checked = latest(checked, c.CheckedAt)
		for _, rule := range c.Broken {
			add(Critical, "contract "+c.Name+" is broken: "+rule.Rule, fmt.Sprintf("Found: %s. Promised: %s.", strings.TrimSuffix(rule.Found, "."), strings.TrimSuffix(rule.Expected, ".")), "`warehouse contract check "+c.Name+"`")
		}
	}
	if read("reconciliation") {
		stale(rep, "reconciled", reconciled, checkAge, "warehouse reconcile", add)
	}
	if read("contracts") {
		stale(rep, "held to the contracts", checked, contractAge, "warehouse contract check", add)
	}
	if read("data quality") {
		stale(rep, "analyzed", when(rep.Quality.CheckedAt), checkAge, "warehouse analyze", add)
	}
	for _, f := range rep.Quality.Findings {
		if f.Severity == Critical {
			add(Critical, "data quality: "+f.Check+" "+f.Column, f.Text, "`warehouse analyze` shows all findings")
		}
	}
}

// stale says that a check was not made, which is not the same as that nothing is wrong.
func stale(rep *Report, what string, at time.Time, most time.Duration, command string, add adder) {
	switch age := rep.MadeAt.Sub(at); {
	case at.IsZero():
		add(Warning, "the warehouse was not "+what, "There is no result.", "`"+command+"`, or `warehouse watch` for always")
	case age > most:
		add(Warning, "the warehouse was last "+what+" "+duration(age.Seconds())+" ago", "Since then nobody knows.", "`"+command+"`, or `warehouse watch` for always")
	}
}

func judgeAnomalies(rep *Report, add adder) {
	var open int64
	for _, a := range rep.Anomalies.Open {
		open += a.Reviews
	}
	if open > 0 {
		add(Warning, count(open, "anomaly", "anomalies")+" to review", "Forecast amounts moved further than is usual.", "`warehouse anomalies list`, then `warehouse anomalies ack`")
	}
	stale(rep, "searched for anomalies", when(rep.Anomalies.LastRun), anomalyAge, "warehouse anomalies detect", add)
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// when is a time; the zero time where there is none.
func when(at *time.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return *at
}
