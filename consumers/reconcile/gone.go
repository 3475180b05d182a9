package reconcile

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// gone is what was taken out of the tables on purpose: by retention, and by erasures.
type gone struct {
	current, history time.Time            // from when on retention has kept the rows of these tables; zero if it was never applied
	periods          map[string]bool      // that the tables still have rows of
	erased           map[string]uuid.UUID // up to which event, by key
}

// readGone asks what was taken out, if anything is missed.
func (c *check) readGone(ctx context.Context) error {
	if len(c.candidates) == 0 {
		return nil
	}
	for suffix, cutoff := range map[string]*time.Time{"_current": &c.gone.current, "_history": &c.gone.history} {
		if err := c.conn.QueryRow(ctx, "SELECT max(cutoff) FROM retentions WHERE table_name = ?", c.topic.Table+suffix).Scan(cutoff); err != nil {
			return fmt.Errorf("asking what retention has let go of: %w", clickhousesink.Safe(err))
		}
	}
	c.gone.erased = map[string]uuid.UUID{}
	err := c.stream(ctx, "SELECT key, until_event_id FROM erasures FINAL", func(r *rowReader) {
		key := r.text()
		c.gone.erased[key] = r.uuid()
	})
	if err != nil || !c.scoped {
		return err
	}
	c.gone.periods = map[string]bool{}
	return c.stream(ctx, fmt.Sprintf("SELECT %[1]s FROM %[2]s_current UNION DISTINCT SELECT %[1]s FROM %[2]s_history", "toString("+c.topic.KeyColumns[1]+")", c.topic.Table),
		func(r *rowReader) { c.gone.periods[r.text()] = true })
}

// wasErased tells whether the event is one of a key that was erased, also if it came late.
func (g *gone) wasErased(found *candidate) bool {
	until, ok := g.erased[found.key]
	return ok && bytes.Compare(found.id[:], until[:]) <= 0
}

// runEdge is by how much an export run may be younger than when it was asked for, which is what retention goes by.
const runEdge = 7 * 24 * time.Hour

// expired tells whether retention has let an event go from the table that a group is about.
func (c *check) expired(found *candidate, group int) bool {
	cutoff := c.gone.history
	if group == keysGroup {
		cutoff = c.gone.current
	}
	if cutoff.Unix() <= 0 {
		return false
	}
	if c.scoped {
		return c.periodExpired(found.key, cutoff)
	}
	at := time.UnixMilli(int64(binary.BigEndian.Uint64(found.id[:8]) >> 16)) // the source version
	if !c.entity.runs {
		return at.Before(cutoff.Add(runEdge))
	}
	// People who are there stay current however old they are, and those who are deleted are not missed there.
	return group != keysGroup && at.Before(cutoff)
}

// periodExpired tells whether a forecast's period has gone as a whole, and may have: a fiscal year may begin a year before, or
// end a year after, the one that it is named for.
func (c *check) periodExpired(key string, cutoff time.Time) bool {
	parts := strings.SplitN(key, "|", 3)
	if len(parts) < 3 || c.gone.periods[parts[1]] {
		return false
	}
	name, _, _ := strings.Cut(parts[1], "_")
	year, err := strconv.Atoi(name)
	return err != nil || year-1 <= cutoff.Year()
}
