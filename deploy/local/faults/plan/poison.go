package plan

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/avro"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

// PoisonKind says what makes a record poison, and so what can be done about it.
type PoisonKind uint8

// The kinds. Half of the poison is Invalid; the other two share the rest.
const (
	// Sound is no poison.
	Sound PoisonKind = iota
	// Invalid records decode, but not to a valid event: a replay with the topic's Patch makes them good.
	Invalid
	// UnknownSchema records are written with a schema that the registry does not know: once EvolvedSchema is registered
	// under the plan's ID, a replay makes them good.
	UnknownSchema
	// Corrupt records are of no use for ever.
	Corrupt
)

// String names the kind.
func (k PoisonKind) String() string {
	return [...]string{"sound", "invalid", "unknown schema", "corrupt"}[k]
}

// Poison is what a broken producer publishes in an event's place, under its key and with its headers.
type Poison struct {
	Kind     PoisonKind
	SchemaID int    // that the value was written with; of a corrupt one, that it was to be
	Value    []byte // never nil: a record without a value is a tombstone
}

// Patch is the JSON merge patch that makes a topic's Invalid records valid, with the content that the model knows.
func Patch(topic string) string {
	if topic == schemas.ForecastTopic {
		return `{"currency_code":"USD"}`
	}
	return `{"last_contacted_at":null}`
}

func (p Plan) poisonKind(i int) PoisonKind {
	switch p.roll(saltPoison, i) % 4 {
	case 0, 1:
		return Invalid
	case 2:
		return UnknownSchema
	default:
		return Corrupt
	}
}

// poison is the record of a poisoned step, whose event is what it should have been.
func (p Plan) poison(i int, f fact, run int, sound event.Event) *Poison {
	ids, kind := p.ids(f.topic), p.poisonKind(i)
	switch kind {
	case Invalid:
		return &Poison{Kind: kind, SchemaID: ids.Registered, Value: encode(current(f.topic), ids.Registered, spoil(p.event(f, run)))}
	case UnknownSchema:
		return &Poison{Kind: kind, SchemaID: ids.Evolved, Value: encode(evolved(f.topic), ids.Evolved, evolve(sound))}
	}
	value := encode(current(f.topic), ids.Registered, sound)
	switch h := p.roll(saltCorrupt, i); h % 3 {
	case 0:
		value = value[:5+h>>8%uint64(len(value)-5)] // cut within the body
	case 1:
		value = []byte(`{"error":"upstream timed out","id":"` + sound.Head().EventID.String() + `"}`)
	default:
		value = []byte{}
	}
	return &Poison{Kind: Corrupt, SchemaID: ids.Registered, Value: value}
}

func (p Plan) ids(topic int) SchemaIDs { return []SchemaIDs{p.Forecast, p.People}[topic] }

// spoil makes an event invalid as producers do that check nothing: a currency as the source typed it, a time that was
// never set.
func spoil(e event.Event) event.Event {
	switch e := e.(type) {
	case *forecast.Forecast:
		e.CurrencyCode = new("usd")
	case *people.Person:
		e.LastContactedAt = &time.Time{}
	}
	return e
}

// What a producer of the next schema version writes: one optional field more.
type (
	nextForecast struct {
		forecast.Forecast
		Confidence *string `avro:"confidence"`
	}
	nextPerson struct {
		people.Person
		Confidence *string `avro:"confidence"`
	}
)

func evolve(e event.Event) any {
	confidence := new("high")
	if e, ok := e.(*forecast.Forecast); ok {
		return &nextForecast{Forecast: *e, Confidence: confidence}
	}
	return &nextPerson{Person: *e.(*people.Person), Confidence: confidence}
}

func encode(schema *avro.Schema, id int, v any) []byte {
	value, err := wire.NewEncoder(schema, id).Encode(v)
	if err != nil {
		panic(err) // the types are those of the schemas, which a test encodes once
	}
	return value
}

func current(topic int) *avro.Schema { return []*avro.Schema{forecast.Schema, people.Schema}[topic] }

func evolved(topic int) *avro.Schema { return evolvedSchemas()[topic] }

var evolvedSchemas = sync.OnceValue(func() (parsed []*avro.Schema) {
	for _, topic := range Topics() {
		parsed = append(parsed, avro.MustParse(EvolvedSchema(topic)))
	}
	return parsed
})

// EvolvedSchema is the schema that a topic's UnknownSchema records are written with: the topic's own and an optional
// field, compatible in both directions.
func EvolvedSchema(topic string) string {
	file := forecast.SchemaFile
	if topic == schemas.PeopleTopic {
		file = people.SchemaFile
	}
	var record struct {
		Type      string            `json:"type"`
		Name      string            `json:"name"`
		Namespace string            `json:"namespace"`
		Doc       string            `json:"doc"`
		Fields    []json.RawMessage `json:"fields"`
	}
	dec := json.NewDecoder(strings.NewReader(schemas.MustAvro(file)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&record); err != nil {
		panic(fmt.Sprintf("schema %s: %v", file, err)) // it is embedded
	}
	record.Fields = append(record.Fields, json.RawMessage(`{"name":"confidence","type":["null","string"],"default":null,"doc":"How sure the source is."}`))
	text, err := json.Marshal(record)
	if err != nil {
		panic(err) // what was JSON before is JSON
	}
	return string(text)
}
