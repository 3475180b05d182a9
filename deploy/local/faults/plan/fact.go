package plan

import (
	"github.com/revstream/revstream/schemas/event"
)

// What a share of a thousand steps is.
const (
	poisonShare    = 10
	duplicateShare = 100
	twinShare      = 30
	lateShare      = 100

	forecastShare = 600 // of all facts; the others are people
	// Of new versions. With the twins, half of which are deletes, five steps of a hundred delete.
	deleteShare = 45
)

const (
	// maxDelay is how many steps a late version is behind at most.
	maxDelay = 50_000
	// stepMicros is what the source's clock goes on by in a step. A late version stands between the ticks of that clock at a
	// place of its own: the step's number modulo a number above maxDelay. So no two steps state one version of one key,
	// unless one is the twin of the other.
	stepMicros = 100_000
	latePlaces = 1 << 16
	// epochMicros is where the source's clock starts: 2026-01-05 08:00 UTC, in microseconds.
	epochMicros = 1_767_600_000_000_000
	// keyShare is the share of the number of events that each entity has keys: one of this many.
	keyShare = 20
)

// Salts make the rolls of one step independent of each other.
const (
	saltRole = iota + 1
	saltTopic
	saltKey
	saltDelete
	saltDelay
	saltBack
	saltTwin
	saltReexport
	saltPoison
	saltCorrupt
	saltContent
)

// fact is what an event states. Its fields decide the content of the event, except for who observed it and when.
type fact struct {
	topic  int // index of Topics
	key    int // number of the entity
	micros int64
	op     event.Operation
	// mended facts are published broken, and become valid by the topic's Patch.
	mended bool
}

// roll is a number that (seed, salt, i) decide: the finaliser of SplitMix64 over each.
func (p Plan) roll(salt, i int) uint64 {
	h := p.Seed
	for _, v := range []uint64{uint64(salt), uint64(i)} {
		h += v + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

func (p Plan) keys() int { return max(1, p.Events/keyShare) }

// exports cuts the plan into blocks, each of which ends in a burst of re-exports.
func (p Plan) exports() (block, burst int) {
	block = min(max(p.Events/keyShare, 100), 20_000)
	return block, block / 50
}

// role of a step. The first one is fresh, so that whatever looks back finds something.
func (p Plan) role(i int) Role {
	block, burst := p.exports()
	roll := p.roll(saltRole, i) % 1000
	switch {
	case i == 0:
		return Fresh
	case i%block >= block-burst:
		return Reexport
	case roll < poisonShare:
		return Poisoned
	case roll < poisonShare+duplicateShare:
		return Duplicate
	case roll < poisonShare+duplicateShare+twinShare:
		return Twin
	case roll < poisonShare+duplicateShare+twinShare+lateShare:
		return Late
	default:
		return Fresh
	}
}

// resolve finds what a step states, and the step whose run has observed it.
func (p Plan) resolve(i int) (f fact, run int) {
	switch p.role(i) {
	case Twin:
		return p.twin(i), i
	case Duplicate:
		return p.resolve(p.sound(p.back(i)))
	case Reexport:
		block, burst := p.exports()
		first := i - i%block + block - burst
		start := int(p.roll(saltReexport, first) % uint64(first))
		f, _ = p.resolve(p.sound(start + i - first))
		return f, i
	default:
		return p.own(i), i
	}
}

// sound is the newest step up to i that is not poison.
func (p Plan) sound(i int) int {
	for p.role(i) == Poisoned {
		i--
	}
	return i
}

// back chooses an earlier step: as often one of the last two as one of the last 32,768 and all between.
func (p Plan) back(i int) int {
	h := p.roll(saltBack, i)
	reach := min(1<<(1+h%15), i)
	return i - 1 - int(h>>8%uint64(reach))
}

// twin is the opposite of what an earlier step states first. Half of the twins look for a delete, as an upsert that
// comes after the delete of its own version must not win.
func (p Plan) twin(i int) fact {
	undo := p.roll(saltTwin, i)%2 == 0
	for j := p.back(i); ; j-- {
		role := p.role(j)
		if j > 0 && role != Fresh && role != Late || j > 0 && undo && p.operation(j) != event.Delete {
			continue
		}
		f := p.own(j)
		if f.op == event.Delete {
			f.op = event.Upsert
		} else {
			f.op = event.Delete
		}
		return f
	}
}

// own is what a step states that does not look back.
func (p Plan) own(i int) fact {
	f := fact{key: int(p.roll(saltKey, i) % uint64(p.keys())), micros: epochMicros + int64(i)*stepMicros, op: p.operation(i)}
	if p.roll(saltTopic, i)%1000 >= forecastShare {
		f.topic = 1
	}
	role, delay := p.role(i), p.roll(saltDelay, i)
	if role == Late || role == Poisoned && delay>>32%1000 < lateShare {
		behind := min(1+int(delay&0xffffffff%maxDelay), i)
		f.micros -= int64(behind)*stepMicros - 1 - int64(i%latePlaces)
	}
	f.mended = role == Poisoned && p.poisonKind(i) == Invalid
	return f
}

func (p Plan) operation(i int) event.Operation {
	if i > 0 && p.roll(saltDelete, i)%1000 < deleteShare {
		return event.Delete
	}
	return event.Upsert
}
