package clari

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"
)

// text is a string that may also arrive as a number, a boolean or an object; those are kept as their compact JSON, null as "".
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	switch {
	case len(b) == 0, bytes.Equal(b, []byte("null")):
		*t = ""
		return nil
	case b[0] == '"':
		if plain := b[1 : len(b)-1]; isPlain(plain) {
			*t = text(plain)
			return nil
		}
		return json.Unmarshal(b, (*string)(t))
	case startsNumber(b[0]):
		*t = text(b)
		return nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return err
	}
	*t = text(compact.String())
	return nil
}

// isPlain tells whether the inside of a JSON string is the string: nearly all are, and need no decoder.
func isPlain(b []byte) bool {
	for _, c := range b {
		if c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// flag is a boolean that may also arrive as a string, null as false.
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	var t text
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	if t == "" {
		*f = false
		return nil
	}
	v, err := strconv.ParseBool(string(t))
	if err != nil {
		return errors.New("neither true nor false")
	}
	*f = flag(v)
	return nil
}

// maxMillis is the end of the year 9999, where the formats downstream end as well.
const maxMillis = 253402300799999

// millis is a time in epoch milliseconds that may also arrive as a string; null and 0 are the zero time.
type millis struct{ time.Time }

func (m *millis) UnmarshalJSON(b []byte) error {
	var t text
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	m.Time = time.Time{}
	if t == "" || t == "0" {
		return nil
	}
	n, err := strconv.ParseInt(string(t), 10, 64)
	if err != nil || n < 0 || n > maxMillis {
		return errors.New("not a time in epoch milliseconds")
	}
	m.Time = time.UnixMilli(n).UTC()
	return nil
}
