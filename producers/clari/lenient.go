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
	s, err := readText(string(b))
	*t = text(s)
	return err
}

func readText(raw string) (string, error) {
	switch {
	case raw == "", raw == "null":
		return "", nil
	case raw[0] == '"':
		if plain := raw[1 : len(raw)-1]; isPlain(plain) {
			return plain, nil
		}
		var s string
		err := json.Unmarshal([]byte(raw), &s)
		return s, err
	case startsNumber(raw[0]), raw == "true", raw == "false":
		return raw, nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(raw)); err != nil {
		return "", err
	}
	return compact.String(), nil
}

// isPlain tells whether the inside of a JSON string is the string: nearly all are, and need no decoder.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// flag is a boolean that may also arrive as a string, null as false.
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	v, err := readFlag(string(b))
	*f = flag(v)
	return err
}

func readFlag(raw string) (bool, error) {
	s, err := readText(raw)
	if err != nil || s == "" {
		return false, err
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, errors.New("neither true nor false")
	}
	return v, nil
}

// maxMillis is the end of the year 9999, where the formats downstream end as well.
const maxMillis = 253402300799999

// millis is a time in epoch milliseconds that may also arrive as a string; null and 0 are the zero time.
type millis struct{ time.Time }

func (m *millis) UnmarshalJSON(b []byte) (err error) {
	m.Time, err = readMillis(string(b))
	return err
}

func readMillis(raw string) (time.Time, error) {
	s, err := readText(raw)
	if err != nil || s == "" || s == "0" {
		return time.Time{}, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > maxMillis {
		return time.Time{}, errors.New("not a time in epoch milliseconds")
	}
	return time.UnixMilli(n).UTC(), nil
}
