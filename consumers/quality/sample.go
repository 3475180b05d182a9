package quality

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/revstream/revstream/consumers/people"
	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// sample is one analysis at work.
type sample struct {
	*Analyzer
	report Report
	limit  uint64 // of the hash, included
}

// choose decides what is looked at.
func (s *sample) choose(ctx context.Context) error {
	var n uint64
	if err := s.conn.QueryRow(ctx, "SELECT count() FROM people").Scan(&n); err != nil {
		return fmt.Errorf("counting people: %w", clickhousesink.Safe(err))
	}
	s.report.People, s.limit = int64(n), math.MaxUint64
	if s.cfg.Sample > 0 && uint64(s.cfg.Sample) < n {
		s.limit = uint64(float64(s.cfg.Sample) / float64(n) * math.MaxUint64)
	}
	return nil
}

// now is the sample of today, and then that of a week ago.
func (s *sample) today() string {
	return fmt.Sprintf("people WHERE cityHash64(person_id) <= %d", s.limit)
}

func (s *sample) then() string {
	return fmt.Sprintf("people_as_of(ts = toDateTime64('%s', 6, 'UTC')) WHERE cityHash64(person_id) <= %d",
		s.report.BaselineAt.Format("2006-01-02 15:04:05.000000"), s.limit)
}

// ask returns the numbers of one row: those that the expressions have over a part of the sample.
func (s *sample) ask(ctx context.Context, from string, expressions ...string) ([]float64, error) {
	var numbers []float64
	query := "SELECT [" + strings.Join(wrap(expressions, "toFloat64(", ")"), ", ") + "] FROM " + from
	if err := s.conn.QueryRow(ctx, query).Scan(&numbers); err != nil {
		return nil, fmt.Errorf("asking the views: %w", clickhousesink.Safe(err))
	}
	return numbers, nil
}

func wrap(texts []string, before, after string) []string {
	wrapped := make([]string, len(texts))
	for i, text := range texts {
		wrapped[i] = before + text + after
	}
	return wrapped
}

// found adds a finding of a share, unless that is 0. What of it is %s in the text is the share in percent.
func (s *sample) found(check, column string, t threshold, count, of float64, text string) {
	if count == 0 || of == 0 {
		return
	}
	share := count / of
	s.report.Findings = append(s.report.Findings, Finding{
		Check: check, Column: column, Severity: t.severity(share), Share: share, Count: int64(count), Of: int64(of),
		Text: fmt.Sprintf("%d of %d %s", int64(count), int64(of), text),
	})
}

// columns finds null rates that are too high, or have moved.
func (s *sample) columns(ctx context.Context) error {
	var names []string
	for _, c := range people.Columns {
		if strings.Contains(c.Type, "Nullable(") {
			names = append(names, c.Name)
		}
	}
	expressions := append([]string{"count()"}, wrap(names, "countIf(isNull(", "))")...)
	now, err := s.ask(ctx, s.today(), expressions...)
	if err != nil {
		return err
	}
	then, err := s.ask(ctx, s.then(), expressions...)
	if err != nil {
		return err
	}
	s.report.Sampled, s.report.BaselineSampled = int64(now[0]), int64(then[0])
	s.report.Compared = min(now[0], then[0]) >= leastCompared
	for i, name := range names {
		s.nullRate(name, now[0], now[i+1], then[0], then[i+1])
	}
	return nil
}

func (s *sample) nullRate(name string, of, nulls, ofThen, nullsThen float64) {
	if of == 0 {
		return
	}
	rate := NullRate{Column: name, Share: nulls / of, Count: int64(nulls), Of: int64(of)}
	if t, ok := required[name]; ok && rate.Share >= t.warning {
		s.found(NullRateHigh, name, t, nulls, of, "are null")
	}
	if s.report.Compared {
		before := nullsThen / ofThen
		rate.Baseline = &before
		moved := math.Abs(rate.Share - before)
		if moved >= nullDrift.warning && significant(nulls, of, nullsThen, ofThen) {
			s.report.Findings = append(s.report.Findings, Finding{
				Check: NullDrift, Column: name, Severity: nullDrift.severity(moved), Share: rate.Share, Count: rate.Count, Of: rate.Of, Baseline: &before,
				Text: fmt.Sprintf("%.1f %% are null, and a week ago %.1f %% were", 100*rate.Share, 100*before),
			})
		}
	}
	s.report.NullRates = append(s.report.NullRates, rate)
}

// significant tells whether two shares differ by more than chance explains.
func significant(a, ofA, b, ofB float64) bool {
	pooled := (a + b) / (ofA + ofB)
	deviation := math.Sqrt(pooled * (1 - pooled) * (1/ofA + 1/ofB))
	return math.Abs(a/ofA-b/ofB) >= leastSigma*deviation
}

// contacts finds e-mails and phones that are none.
func (s *sample) contacts(ctx context.Context) error {
	n, err := s.ask(ctx, s.today(), "countIf(email_valid = 0)", "count(email_valid)", "countIf(phone_valid = 0)", "count(phone_valid)")
	if err != nil {
		return err
	}
	s.found(EmailInvalid, "email_address", emailInvalid, n[0], n[1], "e-mails are not valid")
	s.found(PhoneInvalid, "phone", phoneInvalid, n[2], n[3], "phones are not valid")
	return nil
}

// duplicates finds people who share an e-mail or a phone.
func (s *sample) duplicates(ctx context.Context) error {
	for _, d := range []struct {
		check, column, hash string
		threshold           threshold
		text                string
	}{
		{EmailDuplicate, "email_address", "email_hash", emailDuplicate, "people have an e-mail that somebody else has, too"},
		{PhoneDuplicate, "phone", "phone_hash", phoneDuplicate, "people have a phone that somebody else has, too"},
	} {
		n, err := s.ask(ctx, fmt.Sprintf("(SELECT count() AS n FROM people WHERE isNotNull(%[1]s) AND cityHash64(%[1]s) <= %[2]d GROUP BY %[1]s)", d.hash, s.limit),
			"sumIf(n, n > 1)", "sum(n)")
		if err != nil {
			return err
		}
		s.found(d.check, d.column, d.threshold, n[0], n[1], d.text)
	}
	return nil
}

// times finds those that cannot be.
func (s *sample) times(ctx context.Context) error {
	latest := s.report.CheckedAt.Add(tolerance * time.Hour).Format("2006-01-02 15:04:05.000000")
	expressions := []string{"countIf(created_at > updated_at)", "countIf(isNotNull(created_at) AND isNotNull(updated_at))"}
	for _, column := range timeColumns {
		expressions = append(expressions, fmt.Sprintf("countIf(%s > toDateTime64('%s', 6, 'UTC'))", column, latest), "count("+column+")")
	}
	n, err := s.ask(ctx, s.today(), expressions...)
	if err != nil {
		return err
	}
	s.found(TimeOrder, "created_at", timeOrder, n[0], n[1], "were created after they were updated")
	for i, column := range timeColumns {
		s.found(TimeFuture, column, timeFuture, n[2+2*i], n[3+2*i], "are in the future")
	}
	return nil
}
