package clari

import (
	"bufio"
	"fmt"
	"io"
)

// entryList walks the elements of a list that is known to be JSON, which encoding/json would prove again, twice, for each.
type entryList struct {
	*bufio.Scanner
	opened, closed bool
}

func newEntryList(r io.Reader) *entryList {
	l := &entryList{Scanner: bufio.NewScanner(r)}
	// An element has passed the bounds of elements: its share, and as much again that was read ahead.
	l.Buffer(make([]byte, 1<<18), 3*maxElementBytes)
	l.Split(l.split)
	return l
}

// err says why there are no more elements: nil after the last.
func (l *entryList) err() error {
	if err := l.Err(); err != nil {
		return err
	}
	if !l.closed {
		return fmt.Errorf("%w: it ends early: %w", ErrBadResults, io.ErrUnexpectedEOF)
	}
	return nil
}

// split is a bufio.SplitFunc.
func (l *entryList) split(data []byte, _ bool) (advance int, element []byte, err error) {
	i := skipSpace(data, 0)
	if !l.opened && i < len(data) { // at the bracket
		l.opened = true
		i++
	}
	for i < len(data) && (data[i] == ',' || skipSpace(data, i) > i) {
		i++
	}
	switch {
	case i == len(data):
		return i, nil, nil
	case data[i] == ']':
		l.closed = true
		return len(data), nil, bufio.ErrFinalToken
	}
	end := valueEnd(data, i)
	if end < 0 {
		return i, nil, nil
	}
	return end, data[i:end], nil
}

// skipSpace returns where in valid JSON the next token begins.
func skipSpace[T string | []byte](s T, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns where in valid JSON the value ends that begins at i and that something follows; -1 where the text ends before.
func valueEnd[T string | []byte](s T, i int) int {
	switch s[i] {
	case '"':
		return stringEnd(s, i)
	case '{', '[':
		return nestedEnd(s, i)
	}
	for ; i < len(s); i++ {
		if c := s[i]; c == ',' || c == '}' || c == ']' || c <= ' ' {
			return i
		}
	}
	return -1
}

func stringEnd[T string | []byte](s T, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

func nestedEnd[T string | []byte](s T, i int) int {
	for depth := 0; i < len(s); {
		switch s[i] {
		case '"':
			if i = stringEnd(s, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if i++; depth == 0 {
			return i
		}
	}
	return -1
}
