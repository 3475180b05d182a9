package clari

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Entry is the numbers of one user, field, week and quarter.
type Entry struct {
	TimePeriodID string
	TimeFrameID  string
	UserID       string
	FieldID      string
	Currency     Currency // zero when the entry has none
	IsUpdated    bool
	UpdatedBy    string
	UpdatedOn    time.Time // UTC, to the millisecond; zero when the entry was never updated
	Values       []Value   // by kind, one each
}

// Currency is an entry's currency, such as USD and $.
type Currency struct {
	Code, Symbol string
}

// Value is one number of an entry.
type Value struct {
	// Kind is one of the Type constants, or the snake case of a key that this package does not know, without a trailing "Value".
	Kind string
	// Number is the digits as the document has them, such as 12345678901234.123456789 or 1e3.
	Number json.Number
}

// entryParser reads the elements of an entries list, one after another. It keeps what recurs in nearly every one of them.
type entryParser struct {
	keys     map[string]json.RawMessage
	kinds    map[string]kind // by key
	currency struct {
		raw   []byte
		value Currency
	}
}

type kind struct {
	name  string
	known bool // one of the Type constants
}

// maxKinds bounds the kinds that are kept, should a document have ever new keys.
const maxKinds = 1000

func newEntryParser() *entryParser {
	return &entryParser{keys: make(map[string]json.RawMessage, 16), kinds: map[string]kind{}}
}

// parse reads an element, which is valid JSON. Errors name keys that are known here, and no values.
func (p *entryParser) parse(raw json.RawMessage) (Entry, error) {
	clear(p.keys)
	if raw[0] != '{' || json.Unmarshal(raw, &p.keys) != nil {
		return Entry{}, errors.New("not an object")
	}
	var e Entry
	for key, value := range p.keys {
		if err := p.set(&e, key, value); err != nil {
			return Entry{}, err
		}
	}
	for _, id := range [...]struct{ key, value string }{
		{"timePeriodId", e.TimePeriodID}, {"timeFrameId", e.TimeFrameID}, {"userId", e.UserID}, {"fieldId", e.FieldID},
	} {
		if id.value == "" {
			return Entry{}, fmt.Errorf("%s is missing", id.key)
		}
	}
	if err := e.sortValues(); err != nil {
		return Entry{}, err
	}
	return e, nil
}

// set takes one key of an element.
func (p *entryParser) set(e *Entry, key string, raw json.RawMessage) error {
	var err error
	switch key {
	case "timePeriodId":
		err = id(raw, &e.TimePeriodID)
	case "timeFrameId":
		err = id(raw, &e.TimeFrameID)
	case "userId":
		err = id(raw, &e.UserID)
	case "fieldId":
		err = id(raw, &e.FieldID)
	case "currency":
		e.Currency, err = p.currencyOf(raw)
	case "isUpdated":
		err = (*flag)(&e.IsUpdated).UnmarshalJSON(raw)
	case "updatedBy":
		err = (*text)(&e.UpdatedBy).UnmarshalJSON(raw)
	case "updatedOn":
		var t millis
		err = t.UnmarshalJSON(raw)
		e.UpdatedOn = t.Time
	default:
		return e.setValue(p.kindOf(key), raw)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// id takes a string or a number.
func id(raw json.RawMessage, into *string) error {
	if c := raw[0]; c != '"' && c != 'n' && !startsNumber(c) {
		return errors.New("neither a string nor a number")
	}
	return (*text)(into).UnmarshalJSON(raw)
}

// currencyOf takes an object, or a string that is the code.
func (p *entryParser) currencyOf(raw json.RawMessage) (c Currency, err error) {
	if raw[0] != '{' {
		return c, id(raw, &c.Code)
	}
	if bytes.Equal(raw, p.currency.raw) {
		return p.currency.value, nil
	}
	var wire struct{ Code, Symbol text }
	if json.Unmarshal(raw, &wire) != nil {
		return c, errors.New("not an object of code and symbol")
	}
	c = Currency{string(wire.Code), string(wire.Symbol)}
	p.currency.raw, p.currency.value = append(p.currency.raw[:0], raw...), c
	return c, nil
}

// setValue takes a key that is a value's if it names a kind, or if it is unknown and has a number.
func (e *Entry) setValue(kind kind, raw json.RawMessage) error {
	switch {
	case kind.name == "": // a key of no letters
	case startsNumber(raw[0]):
		e.Values = append(e.Values, Value{kind.name, json.Number(raw)})
	case !kind.known || raw[0] == 'n':
	case raw[0] == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil || s == "" || !startsNumber(s[0]) || !json.Valid([]byte(s)) {
			return fmt.Errorf("the value of kind %s: not a number", kind.name)
		}
		e.Values = append(e.Values, Value{kind.name, json.Number(s)})
	default:
		return fmt.Errorf("the value of kind %s: not a number", kind.name)
	}
	return nil
}

// sortValues makes the order of values that of their kinds, and one of two spellings of the same.
func (e *Entry) sortValues() error {
	slices.SortFunc(e.Values, func(a, b Value) int { return strings.Compare(a.Kind, b.Kind) })
	e.Values = slices.Compact(e.Values)
	for i := 1; i < len(e.Values); i++ {
		if kind := e.Values[i].Kind; kind == e.Values[i-1].Kind {
			return errors.New("two different values of one kind")
		}
	}
	return nil
}

func startsNumber(c byte) bool { return c == '-' || '0' <= c && c <= '9' }

// kindOf gives a value key's kind. The API is known to say forecastValue and quotaValue; how it spells the others is not known,
// so crmTotalValue, crmTotal, CRMTotal and crm_total are one.
func (p *entryParser) kindOf(key string) kind {
	k, ok := p.kinds[key]
	if ok {
		return k
	}
	k.name = snakeCase(key)
	if short := strings.TrimSuffix(k.name, "_value"); short != "" {
		k.name = short
	}
	switch k.name {
	case TypeForecast, TypeQuota, TypeForecastUpdated, TypeAdjustment, TypeCRMTotal, TypeCRMClosed:
		k.known = true
	}
	if len(p.kinds) < maxKinds {
		p.kinds[key] = k
	}
	return k
}

// snakeCase turns crmTotal and CRMTotal into crm_total.
func snakeCase(key string) string {
	runes := []rune(key)
	var b strings.Builder
	for i, r := range runes {
		switch {
		case r == '-' || r == ' ' || r == '.':
			r = '_'
		case unicode.IsUpper(r) && i > 0 && runes[i-1] != '_':
			afterSmall := !unicode.IsUpper(runes[i-1])
			beforeSmall := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if afterSmall || beforeSmall {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
