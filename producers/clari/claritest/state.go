package claritest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"time"
)

// version is what an update made of an entry; the seq-th change of the data, by which snapshots tell what they see.
type version struct {
	seq       uint64
	values    map[string]string // all that updates have set so far
	updatedOn int64             // epoch ms, 0 for none
}

// visibility is a change of a user's.
type visibility struct {
	seq    uint64
	hidden bool
}

// Key identifies an entry.
type Key struct {
	ForecastID   string `json:"forecastId"`
	TimePeriodID string `json:"timePeriodId"`
	TimeFrameID  string `json:"timeFrameId"`
	UserID       string `json:"userId"`
	FieldID      string `json:"fieldId"`
}

// Update says which entries change, and into what.
type Update struct {
	// Key is the entry to change. Without it, Entries of them change, picked at random in the latest week.
	Key     *Key `json:"key,omitempty"`
	Entries int  `json:"entries,omitempty"`
	// ForecastID and TimePeriodID say where Entries are picked. Default the first forecast and the current quarter.
	ForecastID   string `json:"forecastId,omitempty"`
	TimePeriodID string `json:"timePeriodId,omitempty"`
	// Kind is forecast, quota, adjustment, crm_total, crm_closed or forecast_updated. Default what the field is for.
	Kind string `json:"kind,omitempty"`
	// Value is the new value's digits. Default another than before.
	Value json.Number `json:"value,omitempty"`
	// UpdatedOn is when the entry says that it was updated, in epoch ms. Default now.
	UpdatedOn int64 `json:"updatedOn,omitempty"`
	// WithoutUpdatedOn makes the entry not say that it was updated.
	WithoutUpdatedOn bool `json:"withoutUpdatedOn,omitempty"`
}

// Change is what an update did to one entry.
type Change struct {
	Key
	Kind      string      `json:"kind"`
	Old       json.Number `json:"old,omitempty"`
	Value     json.Number `json:"value"`
	UpdatedOn int64       `json:"updatedOn,omitempty"`
}

// Update changes entries for the jobs that start from now on.
func (s *Simulator) Update(u Update) ([]Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if err := s.checkUpdate(&u, now); err != nil {
		return nil, fmt.Errorf("updating entries: %w", err)
	}
	keys, err := s.pick(u, now)
	if err != nil {
		return nil, fmt.Errorf("updating entries: %w", err)
	}
	s.seq++
	changes := make([]Change, 0, len(keys))
	for _, k := range keys {
		changes = append(changes, s.change(k, u))
	}
	return changes, nil
}

func (s *Simulator) checkUpdate(u *Update, now time.Time) error {
	if u.Kind != "" && !slices.Contains(allTypes, u.Kind) {
		return fmt.Errorf("unknown kind %q", u.Kind)
	}
	if u.Value != "" {
		if _, ok := new(big.Rat).SetString(u.Value.String()); !ok || !json.Valid([]byte(u.Value)) {
			return errors.New("the value is not a number")
		}
	}
	if (u.Key == nil) == (u.Entries <= 0) {
		return errors.New("want either a key or a number of entries")
	}
	switch {
	case u.WithoutUpdatedOn && u.UpdatedOn != 0:
		return errors.New("want either updatedOn or withoutUpdatedOn")
	case !u.WithoutUpdatedOn && u.UpdatedOn == 0:
		u.UpdatedOn = now.UnixMilli()
	}
	return nil
}

// pick resolves the entries that an update means. The caller holds mu.
func (s *Simulator) pick(u Update, now time.Time) ([]entryKey, error) {
	if u.Key != nil {
		k, err := s.resolve(*u.Key, now)
		return []entryKey{k}, err
	}
	forecast := u.ForecastID
	if forecast == "" {
		forecast = s.cfg.Forecasts[0]
	}
	q := s.find(u.TimePeriodID, now)
	if u.TimePeriodID != "" && s.id(q) != u.TimePeriodID || !slices.Contains(s.cfg.Forecasts, forecast) {
		return nil, errors.New("no such forecast or time period")
	}
	weeks := s.weeks(q, now)
	week := weeks[len(weeks)-1].Unix()
	// A walk from a random start in steps that have no divisor in common with the total meets each entry once.
	total := uint64(s.cfg.Users) * uint64(s.cfg.Fields)
	start, step := mix(s.cfg.Seed, saltPick, s.seq)%total, total/2+1
	for gcd(step, total) != 1 {
		step++
	}
	keys := make([]entryKey, 0, u.Entries)
	for n := uint64(0); n < total && len(keys) < u.Entries; n++ {
		at := (start + n*step) % total
		k := entryKey{forecast, q, week, int(at) / s.cfg.Fields, int(at) % s.cfg.Fields}
		if !s.isHidden(k.user, s.seq) && (u.Kind == "" || (u.Kind == "quota") == s.isQuota(k.field)) {
			keys = append(keys, k)
		}
	}
	if len(keys) < u.Entries {
		return nil, fmt.Errorf("%d entries to change: there are %d", u.Entries, len(keys))
	}
	return keys, nil
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (s *Simulator) resolve(k Key, now time.Time) (entryKey, error) {
	q := s.find(k.TimePeriodID, now)
	weeks := s.weeks(q, now)
	week := slices.IndexFunc(weeks, func(w time.Time) bool { return frameID(w) == k.TimeFrameID })
	user, knownUser := s.userIndex(k.UserID)
	field, knownField := s.fieldIndex(k.FieldID)
	switch {
	case !slices.Contains(s.cfg.Forecasts, k.ForecastID):
		return entryKey{}, errors.New("no such forecastId")
	case s.id(q) != k.TimePeriodID:
		return entryKey{}, errors.New("no such timePeriodId")
	case week < 0:
		return entryKey{}, errors.New("no such timeFrameId in that timePeriodId")
	case !knownUser:
		return entryKey{}, errors.New("no such userId")
	case !knownField:
		return entryKey{}, errors.New("no such fieldId")
	}
	return entryKey{k.ForecastID, q, weeks[week].Unix(), user, field}, nil
}

// change adds a version to an entry. The caller holds mu.
func (s *Simulator) change(k entryKey, u Update) Change {
	kind := u.Kind
	if kind == "" {
		kind = "forecast"
		if s.isQuota(k.field) {
			kind = "quota"
		}
	}
	now := entry{values: map[string]string{}}
	s.at(k, s.versionAt(k, s.seq), &now)
	value := u.Value.String()
	for salt := uint64(0); value == "" || u.Value == "" && sameNumber(value, now.values[kind]); salt++ {
		value = string(appendDigits(nil, mix(s.cfg.Seed, saltPick, s.seq, uint64(k.user), uint64(k.field), salt)))
	}
	next := version{seq: s.seq, values: map[string]string{}, updatedOn: u.UpdatedOn}
	if last := s.versionAt(k, s.seq); last != nil {
		maps.Copy(next.values, last.values)
	}
	next.values[kind] = value
	s.entries[k] = append(s.entries[k], next)
	field, _, _ := s.field(k.field)
	return Change{
		Key:  Key{k.forecast, s.id(k.quarter), frameID(time.Unix(k.week, 0).UTC()), userID(k.user), field},
		Kind: kind, Old: json.Number(now.values[kind]), Value: json.Number(value), UpdatedOn: u.UpdatedOn,
	}
}

func sameNumber(a, b string) bool {
	x, okX := new(big.Rat).SetString(a)
	y, okY := new(big.Rat).SetString(b)
	return okX && okY && x.Cmp(y) == 0
}

// versionAt is the newest version that the seq-th change sees, if any. The caller holds mu.
func (s *Simulator) versionAt(k entryKey, seq uint64) *version {
	versions := s.entries[k]
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].seq <= seq {
			return &versions[i]
		}
	}
	return nil
}

// at is an entry in a version.
func (s *Simulator) at(k entryKey, v *version, into *entry) {
	s.generate(k, into)
	if v != nil {
		into.updatedOn = v.updatedOn
		maps.Copy(into.values, v.values)
	}
	if s.cfg.UpdatedValues && into.updatedOn != 0 && into.values["forecast_updated"] == "" && into.values["forecast"] != "" {
		into.values["forecast_updated"] = into.values["forecast"]
	}
}

// HideUser takes a user out of the exports that start from now on, whole history included, or puts them back.
func (s *Simulator) HideUser(id string, hidden bool) error {
	i, ok := s.userIndex(id)
	if !ok {
		return errors.New("hiding a user: no such userId")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	s.hidden[i] = append(s.hidden[i], visibility{s.seq, hidden})
	return nil
}

// isHidden is whether the seq-th change sees a user hidden. The caller holds mu.
func (s *Simulator) isHidden(user int, seq uint64) bool {
	for _, change := range slices.Backward(s.hidden[user]) {
		if change.seq <= seq {
			return change.hidden
		}
	}
	return false
}

const maxFaults = 100_000 // at a time

// Fail makes the next n requests of the API fail.
func (s *Simulator) Fail(n int, fault Fault) error {
	if n < 1 || n > maxFaults || fault.Status < http.StatusBadRequest || fault.Status > 599 {
		return errors.New("failing requests: want a number of them and a status of 400 to 599")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, slices.Repeat([]Fault{fault}, n)...)
	return nil
}

// FailJobs makes the next n jobs end in a status: FAILED or ABORTED, or STARTED for one that never ends by itself.
func (s *Simulator) FailJobs(n int, status string) error {
	if n < 1 || n > maxFaults || !slices.Contains([]string{failed, aborted, started}, status) {
		return errors.New("failing jobs: want a number of them and FAILED, ABORTED or STARTED")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobFate = append(s.jobFate, slices.Repeat([]string{status}, n)...)
	return nil
}
