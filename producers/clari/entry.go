package clari

import (
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
	Raw          string    // the element as the document has it
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
	members  []member
	index    map[string]int  // of members, where they are many
	kinds    map[string]kind // by key
	currency struct {
		json  string
		value Currency
	}
}

// member is a key of an object, and its value as JSON.
type member struct{ key, json string }

type kind struct {
	name  string
	known bool // one of the Type constants
}

// maxKinds bounds the kinds that are kept, should a document have ever new keys.
const maxKinds = 1000

func newEntryParser() *entryParser {
	return &entryParser{kinds: map[string]kind{}}
}

// parse reads an element, which is valid JSON. Errors name keys that are known here, and no values. All texts of an entry are
// parts of one copy of the element, which lives as long as any of them.
func (p *entryParser) parse(raw json.RawMessage) (Entry, error) {
	if raw[0] != '{' {
		return Entry{}, errors.New("not an object")
	}
	e := Entry{Raw: string(raw)}
	if err := p.split(e.Raw); err != nil {
		return Entry{}, err
	}
	for _, m := range p.members {
		if err := p.set(&e, m.key, m.json); err != nil {
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
func (p *entryParser) set(e *Entry, key, raw string) error {
	var err error
	switch key {
	case "timePeriodId":
		e.TimePeriodID, err = id(raw)
	case "timeFrameId":
		e.TimeFrameID, err = id(raw)
	case "userId":
		e.UserID, err = id(raw)
	case "fieldId":
		e.FieldID, err = id(raw)
	case "currency":
		e.Currency, err = p.currencyOf(raw)
	case "isUpdated":
		e.IsUpdated, err = readFlag(raw)
	case "updatedBy":
		e.UpdatedBy, err = readText(raw)
	case "updatedOn":
		e.UpdatedOn, err = readMillis(raw)
	default:
		return e.setValue(p.kindOf(key), raw)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// split takes apart an object, which is valid JSON. Of a key that comes twice the last counts, as it does for encoding/json.
func (p *entryParser) split(object string) error {
	p.members = p.members[:0]
	for i := skipSpace(object, 1); object[i] != '}'; {
		end := valueEnd(object, i)
		key, err := readText(object[i:end])
		if err != nil {
			return err
		}
		i = skipSpace(object, skipSpace(object, end)+len(":"))
		end = valueEnd(object, i)
		p.keep(member{key, object[i:end]})
		if i = skipSpace(object, end); object[i] == ',' {
			i = skipSpace(object, i+1)
		}
	}
	return nil
}

// fewMembers is how many are found faster by looking at each. An element of 1 MiB may have 100,000.
const fewMembers = 32

func (p *entryParser) keep(m member) {
	if i := p.find(m.key); i >= 0 {
		p.members[i] = m
		return
	}
	p.members = append(p.members, m)
	switch n := len(p.members); {
	case n == fewMembers+1:
		p.index = make(map[string]int, 2*n)
		for i := range p.members {
			p.index[p.members[i].key] = i
		}
	case n > fewMembers:
		p.index[m.key] = n - 1
	}
}

// find returns the index of a member, or -1.
func (p *entryParser) find(key string) int {
	if len(p.members) > fewMembers {
		if i, ok := p.index[key]; ok {
			return i
		}
		return -1
	}
	for i := range p.members {
		if p.members[i].key == key {
			return i
		}
	}
	return -1
}

// id takes a string or a number.
func id(raw string) (string, error) {
	if c := raw[0]; c != '"' && c != 'n' && !startsNumber(c) {
		return "", errors.New("neither a string nor a number")
	}
	return readText(raw)
}

// currencyOf takes an object, or a string that is the code.
func (p *entryParser) currencyOf(raw string) (c Currency, err error) {
	if raw[0] != '{' {
		c.Code, err = id(raw)
		return c, err
	}
	if raw == p.currency.json {
		return p.currency.value, nil
	}
	var wire struct{ Code, Symbol text }
	if json.Unmarshal([]byte(raw), &wire) != nil {
		return c, errors.New("not an object of code and symbol")
	}
	c = Currency{string(wire.Code), string(wire.Symbol)}
	p.currency.json, p.currency.value = raw, c
	return c, nil
}

// setValue takes a key that is a value's if it names a kind, or if it is unknown and has a number.
func (e *Entry) setValue(kind kind, raw string) error {
	switch {
	case kind.name == "": // a key of no letters
	case startsNumber(raw[0]):
		e.addValue(kind.name, raw)
	case !kind.known || raw[0] == 'n':
	case raw[0] == '"':
		s, err := readText(raw)
		if err != nil || s == "" || !startsNumber(s[0]) || !json.Valid([]byte(s)) {
			return fmt.Errorf("the value of kind %s: not a number", kind.name)
		}
		e.addValue(kind.name, s)
	default:
		return fmt.Errorf("the value of kind %s: not a number", kind.name)
	}
	return nil
}

func (e *Entry) addValue(kind, number string) {
	if e.Values == nil {
		e.Values = make([]Value, 0, 6) // there are six known kinds
	}
	e.Values = append(e.Values, Value{kind, json.Number(number)})
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
		p.kinds[strings.Clone(key)] = k // and not the whole element with it
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
