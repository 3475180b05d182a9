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

// parseEntry reads an element of the entries list. keys is scratch space. Errors name keys that are known here, and no values.
func parseEntry(raw json.RawMessage, keys map[string]json.RawMessage) (Entry, error) {
	clear(keys)
	if raw[0] != '{' {
		return Entry{}, errors.New("not an object")
	}
	if err := json.Unmarshal(raw, &keys); err != nil {
		return Entry{}, errors.New("not an object of JSON")
	}
	var e Entry
	for key, value := range keys {
		if err := e.set(key, value); err != nil {
			return Entry{}, err
		}
	}
	for _, id := range []struct{ key, value string }{
		{"timePeriodId", e.TimePeriodID}, {"timeFrameId", e.TimeFrameID}, {"userId", e.UserID}, {"fieldId", e.FieldID},
	} {
		if id.value == "" {
			return Entry{}, fmt.Errorf("%s is missing", id.key)
		}
	}
	return e, e.sortValues()
}

// set takes one key of an element.
func (e *Entry) set(key string, raw json.RawMessage) error {
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
		err = e.Currency.set(raw)
	case "isUpdated":
		err = (*flag)(&e.IsUpdated).UnmarshalJSON(raw)
	case "updatedBy":
		err = (*text)(&e.UpdatedBy).UnmarshalJSON(raw)
	case "updatedOn":
		var t millis
		err = t.UnmarshalJSON(raw)
		e.UpdatedOn = t.Time
	default:
		return e.setValue(key, raw)
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

// set takes an object, or a string that is the code.
func (c *Currency) set(raw json.RawMessage) error {
	if raw[0] != '{' {
		return id(raw, &c.Code)
	}
	var wire struct{ Code, Symbol text }
	if err := json.Unmarshal(raw, &wire); err != nil {
		return errors.New("not an object of code and symbol")
	}
	*c = Currency{string(wire.Code), string(wire.Symbol)}
	return nil
}

// setValue takes a key that is a value's if it names a kind, or if it is unknown and has a number.
func (e *Entry) setValue(key string, raw json.RawMessage) error {
	kind, known := kindOf(key)
	switch {
	case startsNumber(raw[0]):
		e.Values = append(e.Values, Value{kind, json.Number(raw)})
	case !known || raw[0] == 'n':
	case raw[0] == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil || s == "" || !startsNumber(s[0]) || !json.Valid([]byte(s)) {
			return fmt.Errorf("the value of kind %s: not a number", kind)
		}
		e.Values = append(e.Values, Value{kind, json.Number(s)})
	default:
		return fmt.Errorf("the value of kind %s: not a number", kind)
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

// kindOf gives a value key's kind, and whether it is one of the API's types. The API is known to say forecastValue and quotaValue;
// how it spells the others is not known, so crmTotalValue, crmTotal, CRMTotal and crm_total are one.
func kindOf(key string) (kind string, known bool) {
	kind = snakeCase(key)
	if short := strings.TrimSuffix(kind, "_value"); short != "" {
		kind = short
	}
	switch kind {
	case TypeForecast, TypeQuota, TypeForecastUpdated, TypeAdjustment, TypeCRMTotal, TypeCRMClosed:
		return kind, true
	}
	return kind, false
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
