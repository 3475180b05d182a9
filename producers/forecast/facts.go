package forecast

import (
	"cmp"
	"slices"
)

// keyHash stands for a key, in this process: the top of its first part picks the shard, its second, of keyBits, is kept. Of 2,000,000
// keys, that any two are taken for one is less likely than one in a hundred million.
type keyHash [2]uint64

// contentHash stands for the content of an entry, in contentBits: it is only ever compared with that of the same key.
type contentHash uint64

type fact struct {
	version int64 // source version, µs since 1970
	content contentHash
	seen    bool // by the running job
}

// facts maps keys to facts in 20 bytes each and a tenth more, without a pointer for the garbage collector to follow: a table of
// millions of keys is most of what the process has in memory. Each shard is sorted by key, and so small that to make room in its
// middle costs less than a table of hashes that is kept half empty.
type facts struct {
	shards [1 << shardBits][]slot
	n      int
	grown  func(keys int) // is told now and then; may be nil
}

// grownBy is how many keys it takes until it is told.
const grownBy = 1 << 16

const (
	shardBits   = 12
	keyBits     = 56
	contentBits = 49
	versionBits = 54 // until 2540; an event's version ends in 2261
)

// slot is a key, content, version and whether it was seen, one after the other in 160 bits.
type slot [5]uint32

func pack(key uint64, f fact) slot {
	const high = 64 - keyBits       // bits of the content beside the key
	const rest = contentBits - high // and those after them
	const top = 64 - rest           // bits of the version beside these
	content, version := uint64(f.content), uint64(f.version)
	first := key<<high | content>>rest
	second, third := content<<top|version>>(versionBits-top), version<<1
	if f.seen {
		third |= 1
	}
	return slot{uint32(first >> 32), uint32(first), uint32(second >> 32), uint32(second), uint32(third)}
}

func (s slot) key() uint64 { return (uint64(s[0])<<32 | uint64(s[1])) >> (64 - keyBits) }

func (s slot) fact() fact {
	const high = 64 - keyBits
	const rest = contentBits - high
	const top = 64 - rest
	second := uint64(s[2])<<32 | uint64(s[3])
	return fact{
		content: contentHash(uint64(s[1])&(1<<high-1)<<rest | second>>top),
		version: int64(second&(1<<top-1)<<(versionBits-top) | uint64(s[4]>>1)),
		seen:    s[4]&1 == 1,
	}
}

// find returns the shard of a key, and where in it the key is or belongs.
func (t *facts) find(key keyHash) (shard *[]slot, at int, found bool) {
	shard = &t.shards[key[0]>>(64-shardBits)]
	at, found = slices.BinarySearchFunc(*shard, key[1], func(s slot, key uint64) int { return cmp.Compare(s.key(), key) })
	return shard, at, found
}

func (t *facts) get(key keyHash) (f fact, ok bool) {
	shard, at, found := t.find(key)
	if !found {
		return fact{}, false
	}
	return (*shard)[at].fact(), true
}

func (t *facts) put(key keyHash, f fact) {
	shard, at, found := t.find(key)
	if found {
		(*shard)[at] = pack(key[1], f)
		return
	}
	if n := len(*shard); n == cap(*shard) { // append would make it a quarter larger
		grown := append([]slot(nil), make([]slot, n+n/16+2)...)[:n] // with the room that the allocator would leave unused
		copy(grown, *shard)
		*shard = grown
	}
	*shard = slices.Insert(*shard, at, pack(key[1], f))
	if t.n++; t.grown != nil && t.n%grownBy == 0 {
		t.grown(t.n)
	}
}

// forget makes all facts unseen.
func (t *facts) forget() {
	for i := range t.shards {
		shard := t.shards[i]
		for i := range shard {
			shard[i][4] &^= 1
		}
	}
}
