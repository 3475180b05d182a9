package salesloftest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// person is one version of a person. It is not changed once it is in the store, so that readers need no lock for it. A generated
// one is not kept as text but rendered when asked for, so that a million of them fit.
type person struct {
	id        int64
	createdAt int64 // microseconds since 1970
	updatedAt int64
	zone      int             // of its timestamps, minutes east of Greenwich
	version   uint64          // of a generated person: each version has other values
	raw       json.RawMessage // of a recorded, written or tampered one; nil: generated

	replaced bool // guarded by store.mu: on its way out of order
}

func compare(a, b *person) int {
	return cmp.Or(cmp.Compare(a.updatedAt, b.updatedAt), cmp.Compare(a.id, b.id))
}

// store holds the people, ordered by updated_at at all times, so that a list never sorts.
type store struct {
	cfg Config

	mu     sync.RWMutex // guards what follows
	random *rand.Rand
	byID   map[int64]*person
	order  []*person        // by compare
	emails map[string]int64 // nil until the first look-up
	nextID int64
	clock  int64 // the newest stamp given, microseconds
	counts Stats
}

func newStore(cfg Config) *store {
	st := &store{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 1)), nextID: firstID} //nolint:gosec // test data
	st.set(generatePeople(cfg))
	return st
}

// set replaces everybody; people may be in any order.
func (st *store) set(people []*person) {
	slices.SortFunc(people, compare)
	st.order, st.byID, st.emails = people, make(map[int64]*person, len(people)), nil
	st.clock = st.cfg.Epoch.UnixMicro()
	for _, p := range people {
		st.byID[p.id] = p
		st.nextID = max(st.nextID, p.id+1)
		st.clock = max(st.clock, p.updatedAt)
	}
}

func (st *store) load(r io.Reader) error {
	decoder := json.NewDecoder(r)
	byID := map[int64]*person{}
	for {
		var page struct {
			Data []json.RawMessage `json:"data"`
		}
		if err := decoder.Decode(&page); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("reading recorded people: want documents {\"data\": […]}: %w", err)
		}
		if page.Data == nil {
			return errors.New("reading recorded people: a document has no list \"data\"")
		}
		for i, raw := range page.Data {
			p, err := recordedPerson(raw)
			if err != nil {
				return fmt.Errorf("reading recorded people: record %d: %w", i, err)
			}
			byID[p.id] = p
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.set(slices.Collect(maps.Values(byID)))
	return nil
}

func recordedPerson(raw json.RawMessage) (*person, error) {
	var stamps struct {
		ID        int64      `json:"id"`
		UpdatedAt time.Time  `json:"updated_at"`
		CreatedAt *time.Time `json:"created_at"`
	}
	if err := json.Unmarshal(raw, &stamps); err != nil || stamps.ID <= 0 || stamps.UpdatedAt.IsZero() {
		return nil, errors.New("want an integer id and an RFC 3339 updated_at")
	}
	_, offset := stamps.UpdatedAt.Zone()
	p := &person{id: stamps.ID, updatedAt: stamps.UpdatedAt.UnixMicro(), zone: offset / 60, raw: raw}
	if stamps.CreatedAt != nil {
		p.createdAt = stamps.CreatedAt.UnixMicro()
	}
	return p, nil
}

// render is the person as the API sends it.
func (st *store) render(p *person) json.RawMessage {
	if p.raw != nil {
		return p.raw
	}
	return generate(st.cfg.Seed, p)
}

func (st *store) find(id int64) *person {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.byID[id]
}

func (st *store) alive() []*person {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return slices.SortedFunc(maps.Values(st.byID), func(a, b *person) int { return cmp.Compare(a.id, b.id) })
}

func (st *store) stats() Stats {
	st.mu.RLock()
	defer st.mu.RUnlock()
	stats := st.counts
	stats.People = len(st.order)
	if len(st.order) > 0 {
		stats.MaxUpdatedAt = time.UnixMicro(st.order[len(st.order)-1].updatedAt).UTC()
	}
	return stats
}

// idByEmail returns the person who has an address, in any case of letters; 0 for nobody.
func (st *store) idByEmail(email string) int64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.emails == nil {
		st.emails = make(map[string]int64, len(st.order))
		for _, p := range st.order {
			st.indexEmail(p)
		}
	}
	id := st.emails[strings.ToLower(email)]
	if p := st.byID[id]; p == nil || !strings.EqualFold(st.facts(p).Email, email) {
		return 0 // gone, or has another address now
	}
	return id
}

func (st *store) indexEmail(p *person) {
	if email := st.facts(p).Email; email != "" {
		st.emails[strings.ToLower(email)] = p.id
	}
}

// facts are the fields that lists filter and sort by, besides the timestamps.
type facts struct {
	Email string `json:"email_address"`
	CRMID string `json:"crm_id"`
	Name  string `json:"display_name"`
	Owner struct {
		ID int64 `json:"id"`
	} `json:"owner"`
}

func (st *store) facts(p *person) facts {
	var f facts
	_ = json.Unmarshal(st.render(p), &f) // a tampered field counts as unset
	return f
}

func (st *store) update(change Change) ([]*person, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	targets, err := st.pick(change)
	if err != nil {
		return nil, err
	}
	stamp := st.stamps(change)
	changed := make([]*person, len(targets))
	for i, old := range targets {
		p := &person{id: old.id, createdAt: old.createdAt, updatedAt: stamp(), zone: old.zone, version: old.version, raw: old.raw}
		if len(change.Fields) == 0 {
			p.version++
		}
		if err := st.write(p, change.Fields); err != nil {
			return nil, err
		}
		changed[i] = p
	}
	st.replace(targets, changed)
	st.counts.Updated += len(changed)
	return changed, nil
}

func (st *store) create(change Change) ([]*person, error) {
	if change.Count < 1 || len(change.IDs) > 0 {
		return nil, errors.New("creating people: want a count of at least 1 and no ids")
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	stamp := st.stamps(change)
	created := make([]*person, change.Count)
	for i := range created {
		at := stamp()
		id := st.nextID + int64(i)
		created[i] = &person{id: id, createdAt: at, updatedAt: at, zone: zoneOf(st.cfg.Seed, id)}
		if err := st.write(created[i], change.Fields); err != nil {
			return nil, err
		}
	}
	st.nextID += int64(len(created))
	st.replace(nil, created)
	st.counts.Created += len(created)
	return created, nil
}

func (st *store) remove(change Change) ([]*person, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	targets, err := st.pick(change)
	if err != nil {
		return nil, err
	}
	st.replace(targets, nil)
	st.counts.Deleted += len(targets)
	return targets, nil
}

func (st *store) pick(change Change) ([]*person, error) {
	if (len(change.IDs) > 0) == (change.Count > 0) {
		return nil, errors.New("changing people: want either ids or a count of at least 1")
	}
	if change.Count > len(st.order) {
		return nil, fmt.Errorf("changing people: %d asked for, %d there", change.Count, len(st.order))
	}
	var targets []*person
	for _, i := range st.random.Perm(len(st.order))[:max(0, change.Count)] {
		targets = append(targets, st.order[i])
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(change.IDs))) {
		p := st.byID[id]
		if p == nil {
			return nil, fmt.Errorf("changing people: nobody has the id %d", id)
		}
		targets = append(targets, p)
	}
	return targets, nil
}

// stamps gives each person of a change its updated_at. The clock never gives a microsecond twice.
func (st *store) stamps(change Change) func() int64 {
	if !change.UpdatedAt.IsZero() {
		at := change.UpdatedAt.UnixMicro()
		return func() int64 { return at }
	}
	tick := func() int64 {
		st.clock = max(st.clock+1, st.cfg.Now().UnixMicro())
		return st.clock
	}
	if change.SameInstant {
		at := tick()
		return func() int64 { return at }
	}
	return tick
}

// write brings a person's text up to date: a generated one has none, unless fields are set.
func (st *store) write(p *person, fields map[string]json.RawMessage) error {
	if p.raw == nil && len(fields) == 0 {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(st.render(p), &object); err != nil {
		return fmt.Errorf("reading the person to change: %w", err)
	}
	object["updated_at"] = quote(formatTime(p.updatedAt, p.zone))
	if len(fields) == 0 {
		object["title"] = quote(title(st.cfg.Seed, p.id, p.version))
	}
	maps.Copy(object, fields)
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		return fmt.Errorf("setting fields: %w", err)
	}
	p.raw = bytes.TrimSpace(text.Bytes())
	return nil
}

// replace takes people out of the order and others in. It costs one pass over the order at most, and none for what comes at
// its end, as most changes do.
func (st *store) replace(gone, come []*person) {
	for _, p := range gone {
		p.replaced = true
		delete(st.byID, p.id)
	}
	if len(gone) > 0 {
		st.order = slices.DeleteFunc(st.order, func(p *person) bool { return p.replaced })
	}
	sorted := slices.SortedFunc(slices.Values(come), compare)
	at := len(st.order) - 1
	st.order = append(st.order, sorted...)
	for put, next := len(st.order)-1, len(sorted)-1; next >= 0; put-- { // merge from the end
		if at >= 0 && compare(st.order[at], sorted[next]) > 0 {
			st.order[put] = st.order[at]
			at--
			continue
		}
		st.order[put] = sorted[next]
		next--
	}
	for _, p := range come {
		st.byID[p.id] = p
		if st.emails != nil {
			st.indexEmail(p)
		}
	}
}

func quote(text string) json.RawMessage {
	quoted, _ := json.Marshal(text) // a string always encodes
	return quoted
}

func formatTime(micros int64, zone int) string {
	return time.UnixMicro(micros).In(time.FixedZone("", zone*60)).Format("2006-01-02T15:04:05.000000-07:00")
}
