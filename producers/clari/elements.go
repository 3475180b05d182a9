package clari

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// elements walks a JSON document one element at a time. What it holds is bounded by maxElementBytes and what it had read ahead,
// which is as much again at most, whatever the document.
type elements struct {
	*json.Decoder
	in *meter
}

func newElements(r io.Reader) *elements {
	in := &meter{r: r, left: maxElementBytes}
	d := json.NewDecoder(in)
	d.UseNumber() // a number that is passed over need not fit a float
	return &elements{d, in}
}

var errTooLong = fmt.Errorf("an element of more than %d bytes", maxElementBytes)

// meter fails once more has been read than one element may have.
type meter struct {
	r    io.Reader
	left int
}

func (m *meter) Read(b []byte) (int, error) {
	if m.left <= 0 {
		return 0, errTooLong
	}
	n, err := m.r.Read(b[:min(len(b), m.left)])
	m.left -= n
	return n, err
}

// bad makes the end of the input within the document, and whatever else is no JSON, an ErrBadResults. The errors of the
// decoder name a character at most.
func (*elements) bad(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends early: %w", ErrBadResults, io.ErrUnexpectedEOF)
	case errors.As(err, &syntax), errors.Is(err, errTooLong):
		return fmt.Errorf("%w: %w", ErrBadResults, err)
	}
	return err
}

func (d *elements) token() (json.Token, error) {
	d.in.left = maxElementBytes
	t, err := d.Token()
	if err != nil {
		return nil, d.bad(err)
	}
	return t, nil
}

// open reads the delimiter that must come next.
func (d *elements) open(want json.Delim) error {
	t, err := d.token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("%w: %q expected at byte %d", ErrBadResults, want.String(), d.InputOffset())
	}
	return nil
}

// close reads the end of the document, after which only white space may come.
func (d *elements) close() error {
	if err := d.open('}'); err != nil {
		return err
	}
	d.in.left = maxElementBytes
	_, err := d.Token()
	if err == nil {
		return fmt.Errorf("%w: more after its end", ErrBadResults)
	}
	if !errors.Is(err, io.EOF) {
		return d.bad(err)
	}
	return nil
}

func (d *elements) key() (string, error) {
	t, err := d.token()
	if err != nil {
		return "", err
	}
	key, _ := t.(string)
	return key, nil
}

// element reads the next element of the open list.
func (d *elements) element(into *json.RawMessage) error {
	d.in.left = maxElementBytes
	if err := d.Decode(into); err != nil {
		return d.bad(err)
	}
	return nil
}

// list reads a list, or null for an empty one, and calls each before every element; each must read it. located, if not nil, is
// told where the list is in the input.
func (d *elements) list(located func(first, end int64), each func() error) error {
	t, err := d.token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		return fmt.Errorf("%w: a list expected at byte %d", ErrBadResults, d.InputOffset())
	}
	first := d.InputOffset() - 1
	for d.more() {
		if err := each(); err != nil {
			return err
		}
	}
	if err := d.open(']'); err != nil {
		return err
	}
	if located != nil {
		located(first, d.InputOffset())
	}
	return nil
}

func (d *elements) more() bool {
	d.in.left = maxElementBytes
	return d.More()
}

// skip passes over the next value without holding it.
func (d *elements) skip() error {
	for depth := 0; ; {
		t, err := d.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
