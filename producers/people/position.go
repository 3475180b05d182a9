package people

import (
	"hash/fnv"
	"maps"
	"slices"
	"time"
)

// maxRecent bounds what a position remembers: about 300 kB of state, and 100 requests to read the look-back again, which
// is a sixth of the team's budget for a minute.
const maxRecent = 10_000

// position says how far the polling has come. It is loaded from the state when a window begins and saved when what it
// stands for is acknowledged; there is no other copy, so that a window after a failure and one after a crash are the same.
//
// Each window looks back: it begins Overlap before Cursor, because a record can become visible with an updated_at that is
// older than what was read already (a long transaction, a lagging replica, two servers' clocks). Recent tells what was
// dealt with there, so that the look-back of a quiet source publishes nothing.
//
// Its memory is bounded by maxRecent records. After a burst of more within Overlap (an import, a bulk update) Floor rises
// and the look-back becomes shorter. Two rules keep that safe:
//   - Floor never rises above what a walk has passed, since nothing below Floor is asked for again;
//   - forgetting a record of Recent without raising Floor costs an event that is published again and dropped by its ID.
type position struct {
	Cursor time.Time       `json:"cursor"` // newest updated_at published; never ahead of our own clock
	Floor  time.Time       `json:"floor"`
	Recent map[int64]int64 `json:"recent"` // person ID → updated_at in Unix microseconds; anonymous records: see meetAnonymous
	// Rejected counts the records that were dead-lettered since a window last came to the end of the changes.
	Rejected int `json:"rejected,omitempty"`
}

// since returns where the next window begins; zero, with nothing published yet, is the beginning of time.
func (p *position) since(overlap time.Duration) time.Time {
	if p.Cursor.IsZero() {
		return time.Time{}
	}
	start := p.Cursor.Add(-overlap)
	if start.Before(p.Floor) {
		return p.Floor
	}
	return start
}

// meet notes a record and reports whether it was met before. It reports any other updated_at of the same person as new,
// an older one too, for the source's clock may have stepped back.
func (p *position) meet(id int64, updatedAt time.Time) (known bool) {
	at := updatedAt.UnixMicro()
	if last, found := p.Recent[id]; found && last == at {
		return true
	}
	if p.Recent == nil {
		p.Recent = map[int64]int64{}
	}
	p.Recent[id] = at
	return false
}

// meetAnonymous is meet for a record that has no ID or no updated_at to know it by: its bytes have to do. Its place in
// Recent is below 0, where no person's is. As long as it is met it is remembered.
func (p *position) meetAnonymous(raw []byte) (known bool) {
	h := fnv.New64a()
	_, _ = h.Write(raw) // into memory
	key := -int64(h.Sum64()>>1) - 1
	_, known = p.Recent[key]
	if p.Recent == nil {
		p.Recent = map[int64]int64{}
	}
	p.Recent[key] = p.Cursor.UnixMicro()
	return known
}

// advance moves the cursor to where a walk has come, but not past now: one record with a time in the future would
// otherwise put every update until that time behind the look-back.
func (p *position) advance(to, now time.Time) {
	if to.After(now) {
		to = now
	}
	if to.After(p.Cursor) {
		p.Cursor = to.UTC().Truncate(time.Microsecond)
	}
}

// trim forgets what no look-back reaches, and what exceeds maxRecent, the oldest first. passed is the time below which
// the walk has yielded everything.
func (p *position) trim(overlap time.Duration, passed time.Time) {
	p.forgetBelow(p.since(overlap))
	if len(p.Recent) <= maxRecent {
		return
	}
	newest := slices.Sorted(maps.Values(p.Recent))
	floor := time.UnixMicro(newest[len(newest)-maxRecent-1] + 1).UTC() // just above the newest that has to go
	if floor.After(passed) {
		floor = passed.UTC()
	}
	if floor.After(p.Floor) {
		p.Floor = floor
	}
	p.forgetBelow(p.Floor)
	for id := range p.Recent {
		if len(p.Recent) <= maxRecent {
			break
		}
		delete(p.Recent, id)
	}
}

func (p *position) forgetBelow(t time.Time) {
	limit := t.UnixMicro()
	maps.DeleteFunc(p.Recent, func(_, at int64) bool { return at < limit })
}
