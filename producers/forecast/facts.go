package forecast

import (
	"cmp"
	"slices"
)

// keyHash stands for a key, in this process: its first part picks the shard, its second is kept, 76 bits in all. Of 10,000,000
// keys, that any two are taken for one is less likely than one in a thousand million.
type keyHash [2]uint64

// contentHash stands for the content of an entry: it is only ever compared with that of the same key.
type contentHash uint64

type fact struct {
	version int64 // source version, µs since 1970
	content contentHash
	seen    bool // by the running job
}

// facts maps keys to facts in 24 bytes each and up to an eighth more, without a pointer for the garbage collector to follow: a
// table of millions of keys is most of what the process has in memory. Each shard is sorted by key, and so small that to make
// room in its middle costs less than a table of hashes that is kept half empty.
type facts struct {
	shards [1 << shardBits][]slot
	n      int
}

const shardBits = 12

type slot struct {
	key     uint64
	content contentHash
	version uint64 // with the lowest bit for seen
}

// find returns the slot of a key, or where in its shard it belongs.
func (t *facts) find(key keyHash) (shard *[]slot, at int, found bool) {
	shard = &t.shards[key[0]>>(64-shardBits)]
	at, found = slices.BinarySearchFunc(*shard, key[1], func(s slot, key uint64) int { return cmp.Compare(s.key, key) })
	return shard, at, found
}

func (t *facts) get(key keyHash) (f fact, ok bool) {
	shard, at, found := t.find(key)
	if !found {
		return fact{}, false
	}
	s := (*shard)[at]
	return fact{version: int64(s.version >> 1), content: s.content, seen: s.version&1 == 1}, true //nolint:gosec // it was one
}

func (t *facts) put(key keyHash, f fact) {
	s := slot{key: key[1], content: f.content, version: uint64(f.version) << 1} //nolint:gosec // an event's, so not before 1970
	if f.seen {
		s.version |= 1
	}
	shard, at, found := t.find(key)
	if found {
		(*shard)[at] = s
		return
	}
	if n := len(*shard); n == cap(*shard) { // append would make it a quarter larger
		grown := append([]slot(nil), make([]slot, n+n/8+2)...)[:n] // with the room that the allocator would leave unused
		copy(grown, *shard)
		*shard = grown
	}
	*shard = slices.Insert(*shard, at, s)
	t.n++
}

// forget makes all facts unseen.
func (t *facts) forget() {
	for i := range t.shards {
		shard := t.shards[i]
		for i := range shard {
			shard[i].version &^= 1
		}
	}
}
