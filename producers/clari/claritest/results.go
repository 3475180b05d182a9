package claritest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// snapshot is what a job exports: a view of the data as of its seq-th change.
type snapshot struct {
	seq      uint64
	forecast string
	quarter  quarter
	weeks    []time.Time
	kinds    []string
	currency string
}

// snapshotOf looks at the data as it is now. The caller holds mu.
func (s *Simulator) snapshotOf(forecast string, q quarter, now time.Time, req exportRequest) snapshot {
	weeks := s.weeks(q, now)
	if !req.IncludeHistorical {
		weeks = weeks[len(weeks)-1:]
	}
	kinds := slices.DeleteFunc(slices.Clone(allTypes), func(t string) bool { return !slices.Contains(req.Types, t) })
	return snapshot{seq: s.seq, forecast: forecast, quarter: q, weeks: weeks, kinds: kinds, currency: req.Currency}
}

// view is the part of a snapshot that only updates make: copied, so that nothing is locked while a slow client reads.
type view struct {
	versions map[entryKey]*version
	hidden   map[int]bool
}

func (s *Simulator) view(seq uint64) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := view{make(map[entryKey]*version, len(s.entries)), make(map[int]bool, len(s.hidden))}
	for k := range s.entries {
		if version := s.versionAt(k, seq); version != nil {
			v.versions[k] = version
		}
	}
	for user := range s.hidden {
		v.hidden[user] = s.isHidden(user, seq)
	}
	return v
}

// each calls fn for every entry of a snapshot that has a value of its kinds. The entry is valid until fn returns.
func (s *Simulator) each(snap snapshot, fn func(entryKey, *entry) error) error {
	if s.cfg.EmptyResults {
		return nil
	}
	v := s.view(snap.seq)
	e := entry{values: map[string]string{}}
	for user := range s.cfg.Users {
		if v.hidden[user] {
			continue
		}
		for _, week := range snap.order() {
			for field := range s.cfg.Fields {
				k := entryKey{snap.forecast, snap.quarter, week.Unix(), user, field}
				s.at(k, v.versions[k], &e)
				if !slices.ContainsFunc(snap.kinds, func(kind string) bool { return e.values[kind] != "" }) {
					continue
				}
				if err := fn(k, &e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// order is the weeks in no order, as the API sends them: every other one first.
func (snap snapshot) order() []time.Time {
	var odd, even []time.Time
	for i, w := range snap.weeks {
		if i%2 == 1 {
			odd = append(odd, w)
		} else {
			even = append(even, w)
		}
	}
	return append(odd, even...)
}

func (s *Simulator) results(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	j := s.job(w, r)
	if j == nil {
		s.mu.Unlock()
		return
	}
	now := s.cfg.Now()
	status, end := s.status(j, now)
	s.mu.Unlock()
	if status != done || now.After(end.Add(keptFor)) {
		s.refuse(w, http.StatusBadRequest, "invalid_jobId", "The job is not done or its results have expired.")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriterSize(w, 1<<16)
	if err := s.write(out, j.snapshot); err != nil {
		return // the client is gone: there is nobody to tell
	}
	_ = out.Flush()
}

// write writes the document of five lists.
func (s *Simulator) write(w *bufio.Writer, snap snapshot) error {
	entries := func() error { return s.writeEntries(w, snap) }
	parts := []func() error{
		entries,
		func() error { return s.writeUsers(w, snap) },
		func() error { return s.writeFields(w) },
		func() error { return s.writePeriods(w, snap) },
		func() error { return s.writeFrames(w, snap) },
	}
	if s.cfg.EntriesLast {
		parts = append(parts[1:], entries)
	}
	separator := "{"
	for _, part := range parts {
		if _, err := w.WriteString(separator); err != nil {
			return err
		}
		if err := part(); err != nil {
			return err
		}
		separator = ",\n"
	}
	_, err := w.WriteString("}\n")
	return err
}

// list writes one list; items calls its argument with each element's JSON.
func list(w io.Writer, name string, items func(item func([]byte) error) error) error {
	if _, err := fmt.Fprintf(w, "%q:[", name); err != nil {
		return err
	}
	separator := "\n"
	err := items(func(b []byte) error {
		if _, err := io.WriteString(w, separator); err != nil {
			return err
		}
		separator = ",\n"
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, "]")
	return err
}

func marshalTo(item func([]byte) error, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return item(b)
}

func (s *Simulator) writeUsers(w io.Writer, snap snapshot) error {
	hidden := s.view(snap.seq).hidden
	return list(w, "users", func(item func([]byte) error) error {
		for i := range s.cfg.Users {
			if hidden[i] {
				continue
			}
			if err := marshalTo(item, s.user(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Simulator) writeFields(w io.Writer) error {
	return list(w, "fields", func(item func([]byte) error) error {
		for i := range s.cfg.Fields {
			id, name, typ := s.field(i)
			if err := marshalTo(item, map[string]string{"fieldId": id, "fieldName": name, "fieldType": typ}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Simulator) writePeriods(w io.Writer, snap snapshot) error {
	return list(w, "timePeriods", func(item func([]byte) error) error {
		for q := snap.quarter; q >= snap.quarter-quarter(s.cfg.MorePeriods); q-- {
			first, last := s.span(q)
			var year any = s.year(q)
			if q%2 == 1 { // it comes as a number or a string
				year = strconv.Itoa(s.year(q))
			}
			period := map[string]any{
				"timePeriodId": s.id(q), "type": "QUARTER", "label": fmt.Sprintf("Q%d", q%4+1), "year": year,
				"startDate": first.Format(dateLayout), "endDate": last.Format(dateLayout), "crmId": fmt.Sprintf("026%012d", q),
			}
			if err := marshalTo(item, period); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Simulator) writeFrames(w io.Writer, snap snapshot) error {
	return list(w, "timeFrames", func(item func([]byte) error) error {
		for _, week := range snap.order() {
			frame := map[string]string{
				"timeFrameId": frameID(week), "startDate": week.Format(dateLayout), "endDate": week.AddDate(0, 0, 6).Format(dateLayout),
			}
			if err := marshalTo(item, frame); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Simulator) writeEntries(w io.Writer, snap snapshot) error {
	return list(w, "entries", func(item func([]byte) error) error {
		text := s.spell(snap)
		var b []byte
		err := s.each(snap, func(k entryKey, e *entry) error {
			b = text.appendEntry(b[:0], k, e)
			return item(b)
		})
		if err != nil {
			return err
		}
		for i := range s.cfg.UnknownRefs {
			if err := item(text.appendUnknown(b[:0], i)); err != nil {
				return err
			}
		}
		for i := range s.cfg.MalformedEntries {
			if err := item([]byte(malformed[i%len(malformed)])); err != nil {
				return err
			}
		}
		return nil
	})
}

// malformed are elements that are JSON and no entries.
var malformed = []string{
	`"entry"`,
	`{"timePeriodId":"2024_Q3","timeFrameId":"TF:2024-07-01","fieldId":"fc_net_commit","forecastValue":1.0}`,
	`{"timePeriodId":"2024_Q3","timeFrameId":"TF:2024-07-01","userId":"1:A","fieldId":"fc_net_commit","forecastValue":"n/a"}`,
	`{"timePeriodId":"2024_Q3","timeFrameId":"TF:2024-07-01","userId":"1:A","fieldId":"fc_net_commit","forecastValue":1,"updatedOn":"today"}`,
}

// valueKey is how the results spell a kind.
func (s *Simulator) valueKey(kind string) string {
	if kind == "forecast" || kind == "quota" {
		return kind + "Value"
	}
	if s.cfg.ValueKeys == SpellingSnake {
		return kind
	}
	words := strings.Split(kind, "_")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	key := strings.Join(words, "")
	if s.cfg.ValueKeys == SpellingSuffixed {
		key += "Value"
	}
	return key
}

// spelling is what the elements of one document's entries list have in common, put into text once.
type spelling struct {
	kinds    []string
	keys     []string // ,"key": of each kind
	opening  string
	frames   map[int64]string
	fields   []string
	currency string
}

func (s *Simulator) spell(snap snapshot) *spelling {
	text := &spelling{kinds: snap.kinds, opening: `{"timePeriodId":"` + s.id(snap.quarter) + `","timeFrameId":"`, frames: map[int64]string{}}
	for _, kind := range snap.kinds {
		text.keys = append(text.keys, `,"`+s.valueKey(kind)+`":`)
	}
	for _, week := range snap.weeks {
		text.frames[week.Unix()] = frameID(week)
	}
	for i := range s.cfg.Fields {
		id, _, _ := s.field(i)
		text.fields = append(text.fields, id)
	}
	text.currency = fmt.Sprintf(`,"currency":{"code":%q,"symbol":%q}`, snap.currency, symbol(snap.currency))
	return text
}

// appendEntry appends an element of the entries list. Nothing in it needs escaping.
func (text *spelling) appendEntry(b []byte, k entryKey, e *entry) []byte {
	b = append(append(append(b, text.opening...), text.frames[k.week]...), `","userId":"`...)
	b = append(appendUserID(b, k.user), `","fieldId":"`...)
	b = append(append(b, text.fields[k.field]...), '"')
	for i, kind := range text.kinds {
		if value := e.values[kind]; value != "" {
			b = append(append(b, text.keys[i]...), value...)
		}
	}
	if e.currency {
		b = append(b, text.currency...)
	}
	if e.updatedOn == 0 {
		return append(b, '}')
	}
	b = append(b, `,"isUpdated":true,"updatedBy":`...)
	if e.byNumber {
		b = strconv.AppendInt(b, int64(e.updatedBy), 10)
	} else {
		b = append(strconv.AppendInt(append(b, '"'), int64(e.updatedBy), 10), '"')
	}
	b = append(b, `,"updatedOn":`...)
	return append(strconv.AppendInt(b, e.updatedOn, 10), '}')
}

// appendUnknown appends an entry of a user or, every other one, of a field that the document does not list.
func (text *spelling) appendUnknown(b []byte, i int) []byte {
	user, field := userID(0), text.fields[0]
	if i%2 == 0 {
		user = userID(unknownUser + i)
	} else {
		field = fmt.Sprintf("fc_unknown_%03d", i)
	}
	for _, frame := range text.frames {
		return fmt.Appendf(b, `%s%s","userId":"%s","fieldId":"%s","forecastValue":%d.5}`, text.opening, frame, user, field, 1000+i)
	}
	return b
}

func symbol(currency string) string {
	switch currency {
	case "USD":
		return "$"
	case "EUR":
		return "€"
	case "GBP":
		return "£"
	case "JPY":
		return "¥"
	}
	return currency
}
