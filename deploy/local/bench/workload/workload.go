// Package workload owns the data of the benchmarks: events that a number decides, as the sources of revstream have them,
// with every column filled, and their way onto a topic.
package workload

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/people"
)

// Entity is a kind of event with all that is around it. The names are what users see: they are written out here, not taken
// from the code that is measured.
type Entity struct {
	Name       string // also the prefix of its tables
	Topic      string
	Group      string // of its consumers
	Consumer   string // program
	SchemaFile string
	Source     string // ce_source
}

// The entities.
var (
	Forecasts = Entity{Name: "forecast", Topic: schemas.ForecastTopic, Group: "revstream-forecast", Consumer: "forecast-consumer", SchemaFile: forecast.SchemaFile, Source: "/clari"}
	People    = Entity{Name: "people", Topic: schemas.PeopleTopic, Group: "revstream-people", Consumer: "people-consumer", SchemaFile: people.SchemaFile, Source: "/salesloft"}
)

// Clock of the sources in the benchmarks.
var (
	// Epoch is the source version of event 0. An event's version is so many milliseconds after it as its number says, and
	// some microseconds.
	Epoch = time.Date(2026, 3, 30, 12, 0, 0, 0, time.UTC)
	// Observed is when producers saw all of it.
	Observed = Epoch.Add(24 * time.Hour)
)

// run is the producer run that published it.
const run = "0b7f6f3e-8a55-4c3c-9c7c-0d8f3c1c2a11"

// Version is an event's source version: time-ordered, as changes that are published when they happen.
func Version(i int) time.Time {
	return Epoch.Add(time.Duration(i)*time.Millisecond + time.Duration(noise(i, 0)%1000)*time.Microsecond)
}

// noise is a number that i and what it is for decide (splitmix64).
func noise(i int, salt uint64) uint64 {
	h := uint64(i)*0x9e3779b97f4a7c15 + salt*0xd1342543de82ef95 + 0x2545f4914f6cdd1d
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func pick[T any](from []T, n uint64) T { return from[n%uint64(len(from))] }

// pointers are to texts of which there are few: they are made once, as a source's decoder would intern them.
func pointers(texts ...string) []*string {
	all := make([]*string, len(texts))
	for i := range texts {
		all[i] = &texts[i]
	}
	return all
}

func numbered(n int, format string) []*string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf(format, i)
	}
	return pointers(texts...)
}

// Scattered is a source of versions that lie anywhere in a span of time, as late changes do. Its order is the seed's.
func Scattered(seed uint64, from time.Time, span time.Duration) func(i int) time.Time {
	return func(i int) time.Time {
		rng := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // repeatable on purpose
		return from.Add(time.Duration(rng.Int64N(int64(span))).Truncate(time.Microsecond))
	}
}

func seal(e event.Event, version time.Time) error {
	return event.Seal(e, event.Upsert, version, Observed, run)
}
