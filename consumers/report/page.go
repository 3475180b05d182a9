package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

//go:embed page.css
var styleText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"ago": func(at *time.Time, now time.Time) string {
		if at == nil || at.IsZero() {
			return "never"
		}
		return duration(now.Sub(*at).Seconds()) + " ago"
	},
	"at":       func(at time.Time) *time.Time { return &at },
	"count":    func(n int, one string) string { return count(int64(n), one) },
	"commands": commands,
	"grouped":  grouped,
	"int":      func(n int64) int { return int(n) },
	"iso":      func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
	"percent":  func(v *float64) string { return percent(*v / 100) },
	"seconds":  optional(duration),
	"stamp":    stamp,
	"whole":    duration,
}).Parse(pageText))

// Policy is what a browser may do on the page: show it. Its style is told by its hash, as it stands in the page.
var Policy = func() string {
	sum := sha256.Sum256([]byte(styleText))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; base-uri 'none'; form-action 'none'"
}()

// page is what the template shows.
type page struct {
	Report

	Style    template.CSS
	Policy   string
	Verdict  string // healthy, warning or critical
	Runs     []Chart
	LagChart Chart
	Letters  Chart
	Broken   int // rules of contracts
}

// Page is the report as one HTML document that needs nothing else.
func (rep Report) Page() ([]byte, error) {
	p := page{
		Report: rep, Style: template.CSS(styleText), Policy: Policy, Verdict: "healthy", //nolint:gosec // it is our own
		Runs: runCharts(&rep), LagChart: lagChart(&rep), Letters: letterChart(&rep),
	}
	for _, problem := range rep.Problems {
		if p.Verdict != Critical {
			p.Verdict = problem.Severity
		}
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("drawing the report: %w", err)
	}
	return b.Bytes(), nil
}

// optional is a figure that there may not be.
func optional(text func(float64) string) func(*float64) string {
	return func(v *float64) string {
		if v == nil {
			return "–"
		}
		return text(*v)
	}
}

// commands sets what stands between backquotes apart.
func commands(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		if part = template.HTMLEscapeString(part); i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String()) //nolint:gosec // its parts are escaped
}

// Cannot tells whether a section could not be read.
func (p page) Cannot(section string) bool { return slices.Contains(p.Unread, section) }

// days are the report's, the newest last, and what a chart calls them.
func days(rep *Report) (keys, labels []string) {
	for i := range rep.Days {
		day := rep.From.AddDate(0, 0, i)
		keys, labels = append(keys, day.Format(time.DateOnly)), append(labels, day.Format("2 Jan"))
	}
	return keys, labels
}

// runCharts are, for each entity that has runs: how many succeeded, how long they took, how many rows they brought.
func runCharts(rep *Report) []Chart {
	keys, labels := days(rep)
	rate := Chart{
		ID: "rate", Title: "Completion rate by day", Kind: columns, Labels: labels, Top: 1, Unit: percent,
		Desc: "Share of the export runs of a day that succeeded, cancelled ones left out.", Head: []string{"Day", "Source", "Runs", "Succeeded", "Partial", "Failed", "Cancelled", "Rate"},
	}
	charts := []Chart{}
	for at := 0; at < len(rep.Runs); {
		first, end := rep.Runs[at], at
		for end < len(rep.Runs) && rep.Runs[end].Source == first.Source && rep.Runs[end].Entity == first.Entity {
			end++
		}
		runs := rep.Runs[at:end]
		of := func(value func(Runs) float64) []float64 {
			values := slices.Repeat([]float64{none}, len(keys))
			for _, run := range runs {
				if i := slices.Index(keys, run.Day); i >= 0 {
					values[i] = value(run)
				}
			}
			return values
		}
		rate.Series = append(rate.Series, Series{first.Entity, of(func(r Runs) float64 { return orNone(r.Rate) })})
		for _, r := range runs {
			rate.Rows = append(rate.Rows, []string{r.Day, r.Source + " " + r.Entity, grouped(r.Runs), grouped(r.Succeeded), grouped(r.Partial), grouped(r.Failed), grouped(r.Cancelled), optional(percent)(r.Rate)})
		}
		name := first.Source + " " + first.Entity
		took := Chart{
			ID: "took-" + first.Entity, Title: "Duration of the runs: " + name, Kind: lines, Labels: labels, Unit: duration,
			Desc: "From the request to the last row published, by day: the median and the 95th percentile.", Empty: "No run of these days published anything.",
			Series: []Series{{"median", of(func(r Runs) float64 { return orNone(r.P50) })}, {"95th percentile", of(func(r Runs) float64 { return orNone(r.P95) })}},
			Head:   []string{"Day", "Median", "95th percentile"},
		}
		rows := Chart{
			ID: "rows-" + first.Entity, Title: "Rows published by day: " + name, Kind: columns, Labels: labels,
			Desc: "Rows that were new or had changed.", Empty: "No row was published in these days.",
			Series: []Series{{"", of(func(r Runs) float64 { return float64(r.Published) })}}, Head: []string{"Day", "Published", "Rejected"},
		}
		for _, r := range runs {
			took.Rows = append(took.Rows, []string{r.Day, optional(duration)(r.P50), optional(duration)(r.P95)})
			rows.Rows = append(rows.Rows, []string{r.Day, grouped(r.Published), grouped(r.Rejected)})
		}
		charts = append(charts, took, rows)
		at = end
	}
	return append([]Chart{rate}, charts...)
}

func orNone(v *float64) float64 {
	if v == nil {
		return none
	}
	return *v
}

// lagChart has a line for each group and topic, and where there are more of them than lines, those that were most behind.
func lagChart(rep *Report) Chart {
	c := Chart{
		ID: "lag", Title: "Lag", Kind: lines, Desc: "Records that each consumer group had before it, the most of each while.",
	}
	step := max(time.Minute, time.Duration(rep.Days)*24*time.Hour/lagPoints).Truncate(time.Second)
	first := rep.From.Unix() / int64(step.Seconds())
	for at := first; at <= rep.MadeAt.Unix()/int64(step.Seconds()); at++ {
		c.Labels = append(c.Labels, time.Unix(at*int64(step.Seconds()), 0).UTC().Format("2 Jan 15:04"))
	}
	shown := slices.Clone(rep.Lag)
	slices.SortStableFunc(shown, func(a, b Lag) int { return int(min(max(b.Most-a.Most, -1), 1)) })
	for _, l := range shown[:min(len(shown), seriesShown)] {
		values := slices.Repeat([]float64{none}, len(c.Labels))
		for _, p := range l.Points {
			if i := p.At.Unix()/int64(step.Seconds()) - first; i >= 0 && int(i) < len(values) {
				values[i] = float64(p.Most)
			}
		}
		c.Series = append(c.Series, Series{l.Group + " on " + l.Topic, values})
	}
	return c
}

// letterChart stacks the reasons, and what is more than can be told apart as one.
func letterChart(rep *Report) Chart {
	c := Chart{ID: "letters", Title: "Open dead letters by reason", Kind: stacked, Desc: "How many were open at the end of each while.", Head: []string{"Until", "Reason", "Open"}}
	over := slices.Clone(rep.Letters.Over)
	slices.SortStableFunc(over, func(a, b ReasonOver) int { return int(min(max(slices.Max(b.Open)-slices.Max(a.Open), -1), 1)) })
	for n, reason := range over {
		for i, open := range reason.Open {
			if n == 0 {
				end := rep.From.Add(time.Duration(float64(i+1)*rep.Letters.Step) * time.Second)
				if end.After(rep.MadeAt) {
					end = rep.MadeAt
				}
				c.Labels = append(c.Labels, end.Format("2 Jan 15:04"))
			}
			if open > 0 {
				c.Rows = append(c.Rows, []string{c.Labels[i], reason.Reason, grouped(open)})
			}
		}
		values := make([]float64, len(reason.Open))
		for i, open := range reason.Open {
			values[i] = float64(open)
		}
		if n < seriesShown {
			c.Series = append(c.Series, Series{reason.Reason, values})
			continue
		}
		last := &c.Series[seriesShown-1]
		last.Name = "others"
		for i, v := range values {
			last.Values[i] += v
		}
	}
	return c
}
