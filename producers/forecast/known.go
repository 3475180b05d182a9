package forecast

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	entity "github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/wire"
)

// Known is what stands on the topic: of each key the newest content and its source version. It is not safe for concurrent use.
//
// It must never claim more than the topic has, or a change would be lost for good. So it is only trusted while every
// event that it has taken in was acknowledged; after any failure it is thrown away and read anew.
//
// Of a key whose last record is a tombstone the topic has nothing, so what the source has of it is news. Its version is kept while
// the tombstone stands, as the warehouse may still have it.
type Known struct {
	facts    facts
	position snapshot.Position // to which the topic has been read
	skipped  int               // records that could not be read: the consumers' matter
	scratch  []byte
	seeds    [3]maphash.Seed // of the two halves of a key, and of content
}

func newKnown() *Known {
	return &Known{seeds: [...]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed(), maphash.MakeSeed()}}
}

// Refresh reads on to the topic's end, so that what another process has published is known. The error is one of Kafka or of the
// registry, and passes, or snapshot.ErrShrunk; after it nothing is to be relied on. A record that is no event is skipped.
func (k *Known) Refresh(ctx context.Context, client *kgo.Client, source wire.SchemaSource, logger *slog.Logger) error {
	decoder := wire.NewDecoder(entity.Schema, source)
	started, read, skipped := time.Now(), 0, k.skipped
	position, err := snapshot.ReadOn(ctx, client, schemas.ForecastTopic, k.position, func(r *kgo.Record) error {
		var f entity.Forecast
		var invalid *wire.InvalidError
		read++
		if r.Value == nil {
			k.bury(r.Key)
			return nil
		}
		err := decoder.Decode(ctx, r.Value, &f)
		switch {
		case err == nil:
			err = event.Check(&f, r.Key)
		case !errors.As(err, &invalid):
			return err
		}
		if err != nil {
			k.skipped++
			return nil
		}
		k.load(&f)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading what is published already: %w", err)
	}
	k.position = position
	if k.skipped > skipped {
		logger.WarnContext(ctx, "skipped records that are no valid forecast events", "topic", schemas.ForecastTopic, "records", k.skipped-skipped)
	}
	logger.DebugContext(ctx, "read what is published already", "records", read, "keys", k.Len(), "took", time.Since(started))
	return nil
}

// load takes in an event of the topic. The newest source version wins, as it does for everybody: the topic's order is
// that of arrival, and a replayed dead letter arrives late.
func (k *Known) load(f *entity.Forecast) {
	key, content := k.hash(f)
	if f.Operation == event.Delete {
		content = 0 // equals no content: an entry that is back is news
	}
	version := f.SourceVersion.UnixMicro()
	if have, ok := k.facts.get(key); ok && have.version > version {
		return
	}
	k.facts.put(key, fact{version: version, content: content})
}

// bury takes in a tombstone.
func (k *Known) bury(recordKey []byte) {
	key := k.hashKey(recordKey)
	if have, ok := k.facts.get(key); ok {
		k.facts.put(key, fact{version: have.version}) // which equals no content
	}
}

// Len is the number of keys.
func (k *Known) Len() int { return k.facts.n }

// begin starts a job, in which each key has one value.
func (k *Known) begin() { k.facts.forget() }

// errTwice is returned by compare for a key that has two values in one export. Taking the one after the other would
// publish both, again with each export.
var errTwice = errors.New("the export has two values for this key")

// verdict is what an entry is in comparison with what stands on the topic.
type verdict int

const (
	stands   verdict = iota // it is on the topic
	repeated                // it stands, and this export has had it before
	news
)

// compare decides whether an entry is news, and which source version it gets, or has if it stands.
//
// For news that is updatedOn where it is newer than what stands on the topic, as only the source knows when its value changed. It
// is not where the entry has none, or where it went back in time (a correction, a value that was taken back): then the
// change happened at some time before the job that shows it, and the job's start is the earliest time that is sure to be
// after the last version that an earlier job has seen. Unless that version is an updatedOn from a clock ahead of the
// job's: then a microsecond is added to it, because a change must never have a version that is not newer, or readers
// would keep the old value for ever. All three are functions of the topic and the job, so publishing the rest of a
// job after a crash gives the IDs that it would have had.
func (k *Known) compare(key keyHash, content contentHash, updatedOn, jobStart time.Time) (verdict, time.Time, error) {
	have, ok := k.facts.get(key)
	last := time.UnixMicro(have.version)
	switch {
	case ok && have.content == content && have.seen:
		return repeated, last, nil
	case ok && have.content == content:
		have.seen = true // a second value of this job is then told
		k.facts.put(key, have)
		return stands, last, nil
	case ok && have.seen:
		return 0, time.Time{}, errTwice
	case !updatedOn.IsZero() && (!ok || updatedOn.After(last)):
		return news, updatedOn, nil
	case !ok || jobStart.After(last):
		return news, jobStart, nil
	default:
		return news, last.Add(time.Microsecond), nil
	}
}

// published takes in an event of the running job.
func (k *Known) published(key keyHash, content contentHash, version time.Time) {
	k.facts.put(key, fact{version: version.UnixMicro(), content: content, seen: true})
}

// hash is of the event's key, and of what the source says of the entry: the envelope and the job make no news.
func (k *Known) hash(f *entity.Forecast) (keyHash, contentHash) {
	k.scratch = f.AppendKey(k.scratch[:0])
	key := k.hashKey(k.scratch)
	k.scratch = f.AppendContent(k.scratch[:0])
	return key, contentHash(maphash.Bytes(k.seeds[2], k.scratch)>>(64-contentBits) | 1) // never 0
}

func (k *Known) hashKey(key []byte) keyHash {
	return keyHash{maphash.Bytes(k.seeds[0], key), maphash.Bytes(k.seeds[1], key) >> (64 - keyBits)}
}
