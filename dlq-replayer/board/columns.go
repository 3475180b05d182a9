package board

import (
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/google/uuid"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

// pageRows are the letters of a page.
const pageRows = 1024

// page holds consecutive letters of a partition, a column each, some 37 bytes a letter, and in text the key and the IDs.
type page struct {
	part *partition
	rows int
	base int64 // offset of the first

	offset [pageRows]uint32 // from base
	last   [pageRows]int64  // last failure, µs
	age    [pageRows]uint32 // seconds from the first failure to the last
	kind   [pageRows]uint32
	replay [pageRows]uint32 // name of the last replay
	bytes  [pageRows]uint32 // of the value
	state  [pageRows]uint8
	at     [pageRows]uint32 // where in text the letter's begins
	text   []byte
}

// kind is what many letters have in common.
type kind struct {
	reason, message, stage, group, version, flaw string
	attempts, replays, schema                    int
}

// ref names a letter in memory: its page's number and its row there.
type ref uint32

func newRef(page, row int) ref { return ref(page*pageRows + row) }

func (r ref) page() int { return int(r / pageRows) }

func (r ref) row() int { return int(r % pageRows) }

// letter is what the board keeps of one, on its way into a page.
type letter struct {
	offset      int64
	kind        kind
	key         []byte
	event, corr string
	replay      string
	first, last time.Time
	bytes       int
}

func newLetter(e desk.Entry) letter {
	l := e.Letter
	return letter{
		offset: e.ID.Offset,
		kind: kind{
			reason: l.Reason, message: l.Message, stage: l.Stage, group: l.Group, version: l.Version, flaw: e.Flaw,
			attempts: l.Attempts, replays: l.Replays, schema: e.Schema,
		},
		key: slices.Clone(l.Key), event: l.EventID, corr: l.CorrelationID, replay: l.ReplayID,
		first: l.FirstFailure, last: l.LastFailure, bytes: len(l.Value),
	}
}

// names are texts that many letters share, by number.
type names[T comparable] struct {
	number map[T]uint32
	name   []T
}

func newNames[T comparable]() names[T] { return names[T]{number: map[T]uint32{}} }

func (n *names[T]) put(name T) uint32 {
	i, ok := n.number[name]
	if !ok {
		i = uint32(len(n.name))
		n.number[name] = i
		n.name = append(n.name, name)
	}
	return i
}

// takes says whether the page has room for a letter at an offset.
func (p *page) takes(offset int64) bool {
	return p.rows < pageRows && offset-p.base <= math.MaxUint32
}

func (p *page) add(l letter, kind, replay uint32, correlation []byte) int {
	row := p.rows
	p.offset[row], p.kind[row], p.replay[row] = uint32(l.offset-p.base), kind, replay
	p.last[row] = l.last.UnixMicro()
	p.age[row] = uint32(min(max(l.last.Sub(l.first)/time.Second, 0), math.MaxUint32))
	p.bytes[row], p.at[row] = uint32(l.bytes), uint32(len(p.text))
	p.text = binary.AppendUvarint(p.text, uint64(len(l.key)))
	p.text = append(p.text, l.key...)
	p.text = append(appendID(p.text, l.event), correlation...)
	if p.rows++; p.rows == pageRows {
		p.text = slices.Clip(slices.Clone(p.text)) // no more comes: give back what append has kept ready
	}
	return row
}

// find returns the row of an offset.
func (p *page) find(offset int64) (int, bool) {
	if offset < p.base || offset-p.base > math.MaxUint32 {
		return 0, false
	}
	return slices.BinarySearch(p.offset[:p.rows], uint32(offset-p.base))
}

// isUUID stands where the length of a text would, before the 16 bytes of a UUID.
const isUUID = math.MaxUint8

// isShared stands there before the 4 bytes of a text's number.
const isShared = math.MaxUint8 - 1

// maxID is the most bytes that are kept of an ID that is no UUID: nothing of ours makes a longer one.
const maxID = 200

// appendID writes an event's or a correlation's ID.
func appendID(dst []byte, id string) []byte {
	if parsed, err := uuid.Parse(id); err == nil && parsed.String() == id {
		return append(append(dst, isUUID), parsed[:]...)
	}
	id = id[:min(len(id), maxID)]
	return append(append(dst, byte(len(id))), id...)
}

func cutID(text []byte) (id string, rest []byte) {
	if text[0] == isUUID {
		return uuid.UUID(text[1:17]).String(), text[17:]
	}
	end := 1 + int(text[0])
	return string(text[1:end]), text[end:]
}

// maxShared bounds the correlation IDs that are taken for those of a poll, which many letters share. Those of webhooks are
// each one letter's.
const maxShared = 1 << 16

// correlation writes a correlation ID, by its number if it is shared.
func (p *picture) correlation(id string) []byte {
	_, known := p.correlations.number[id]
	if !known && len(p.correlations.name) >= maxShared {
		return appendID(nil, id)
	}
	return binary.BigEndian.AppendUint32([]byte{isShared}, p.correlations.put(id))
}

func (p *picture) readCorrelation(text []byte) string {
	if text[0] == isShared {
		return p.correlations.name[binary.BigEndian.Uint32(text[1:])]
	}
	id, _ := cutID(text)
	return id
}

// key is the letter's key, which stays the page's, and what follows it.
func (p *page) key(row int) (key, rest []byte) {
	text := p.text[p.at[row]:]
	length, n := binary.Uvarint(text)
	return text[n : n+int(length)], text[n+int(length):]
}

func (p *page) id(row int) desk.ID {
	return desk.ID{Topic: p.part.topic, Partition: p.part.number, Offset: p.base + int64(p.offset[row])}
}

// mark is a letter's place in the order of pages: by last failure, then topic, partition and offset.
type mark struct {
	last int64 // µs
	id   desk.ID
}

func (p *page) mark(row int) mark { return mark{last: p.last[row], id: p.id(row)} }

// before is the order.
func (m mark) before(o mark) bool {
	switch {
	case m.last != o.last:
		return m.last < o.last
	case m.id.Topic != o.id.Topic:
		return m.id.Topic < o.id.Topic
	case m.id.Partition != o.id.Partition:
		return m.id.Partition < o.id.Partition
	}
	return m.id.Offset < o.id.Offset
}

// picture is everything in memory.
type picture struct {
	parts map[string]map[int32]*partition // by original topic
	all   []*partition                    // by index
	pages []*page                         // by number; nil where all letters have expired
	order []ref                           // sorted by mark
	kinds names[kind]

	replays      names[string] // IDs of runs
	correlations names[string] // IDs that letters may share
}

// partition is one of a dead-letter topic.
type partition struct {
	topic  string // original
	number int32
	index  int   // in picture.all
	start  int64 // letters before it have expired
	next   int64 // first offset that was not read yet
	pages  []int // numbers, in order
}

func newPicture() *picture {
	return &picture{parts: map[string]map[int32]*partition{}, kinds: newNames[kind](), replays: newNames[string](), correlations: newNames[string]()}
}

func (p *picture) partition(topic string, number int32) *partition {
	if p.parts[topic] == nil {
		p.parts[topic] = map[int32]*partition{}
	}
	part := p.parts[topic][number]
	if part == nil {
		part = &partition{topic: topic, number: number, index: len(p.all)}
		p.all = append(p.all, part)
		p.parts[topic][number] = part
	}
	return part
}

// add takes a letter in, which follows those of its partition. It does not show until merge.
func (p *picture) add(part *partition, l letter) ref {
	if n := len(part.pages); n == 0 || !p.pages[part.pages[n-1]].takes(l.offset) {
		part.pages = append(part.pages, len(p.pages))
		p.pages = append(p.pages, &page{part: part, base: l.offset})
	}
	number := part.pages[len(part.pages)-1]
	row := p.pages[number].add(l, p.kinds.put(l.kind), p.replays.put(l.replay), p.correlation(l.corr))
	part.next = l.offset + 1
	return newRef(number, row)
}

func (p *picture) mark(r ref) mark { return p.pages[r.page()].mark(r.row()) }

func (p *picture) before(a, b ref) bool {
	x, y := p.pages[a.page()], p.pages[b.page()]
	if at, bt := x.last[a.row()], y.last[b.row()]; at != bt {
		return at < bt
	}
	return x.mark(a.row()).before(y.mark(b.row()))
}

func (p *picture) sort(fresh []ref) {
	slices.SortFunc(fresh, func(a, b ref) int {
		switch {
		case a == b:
			return 0
		case p.before(a, b):
			return -1
		default:
			return 1
		}
	})
}

// merge shows letters, which must be sorted. Mostly they are newer than all that is there.
func (p *picture) merge(fresh []ref) {
	if len(fresh) == 0 {
		return
	}
	cut := sort.Search(len(p.order), func(i int) bool { return p.before(fresh[0], p.order[i]) })
	older := slices.Clone(p.order[cut:])
	p.order = p.order[:cut]
	for _, r := range fresh {
		for len(older) > 0 && p.before(older[0], r) {
			p.order = append(p.order, older[0])
			older = older[1:]
		}
		p.order = append(p.order, r)
	}
	p.order = append(p.order, older...)
}

// find returns the letter with an ID.
func (p *picture) find(id desk.ID) (ref, bool) {
	part := p.parts[id.Topic][id.Partition]
	if part == nil || id.Offset < part.start {
		return 0, false
	}
	i := sort.Search(len(part.pages), func(i int) bool { return p.pages[part.pages[i]].base > id.Offset }) - 1
	if i < 0 {
		return 0, false
	}
	row, ok := p.pages[part.pages[i]].find(id.Offset)
	return newRef(part.pages[i], row), ok
}

// expire forgets the letters of a partition before an offset, which the topic has dropped. They show until sweep.
func (p *picture) expire(part *partition, start int64) (some bool) {
	if start <= part.start {
		return false
	}
	part.start = start
	return len(part.pages) > 0 && p.pages[part.pages[0]].base < start
}

// sweep removes what has expired.
func (p *picture) sweep() {
	p.order = slices.DeleteFunc(p.order, func(r ref) bool {
		page := p.pages[r.page()]
		return page.base+int64(page.offset[r.row()]) < page.part.start
	})
	for _, parts := range p.parts {
		for _, part := range parts {
			for len(part.pages) > 0 {
				first := p.pages[part.pages[0]]
				if first.base+int64(first.offset[first.rows-1]) >= part.start {
					break
				}
				p.pages[part.pages[0]] = nil
				part.pages = part.pages[1:]
			}
		}
	}
}
