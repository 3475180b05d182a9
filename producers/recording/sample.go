package recording

import "bytes"

const (
	maxElements = 500 // of each list, the first ones
	maxDepth    = 200
)

// sample keeps of a JSON text all but the elements of lists after the first maxElements, while the text passes. It does not
// check the text: of what is no JSON it keeps something, and isJSON says so as far as the first byte tells.
type sample struct {
	kept    []byte
	total   int64 // bytes that passed
	dropped int   // elements
	leftOut bool  // too long or too deep: nothing is kept

	stack    []container
	quoted   bool
	escaped  bool
	dropping int // the depth of the list whose elements are being dropped; 0: none are
}

type container struct {
	list  bool
	comma int // how many of them so far
}

func (s *sample) isJSON() bool {
	text := bytes.TrimLeft(s.kept, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

func (s *sample) add(b []byte) {
	s.total += int64(len(b))
	if s.leftOut {
		return
	}
	from := 0 // of what is kept of b
	for i, c := range b {
		was := s.dropping
		s.step(c)
		if was == 0 && s.dropping != 0 { // c is the comma before the first element that is dropped
			s.kept = append(s.kept, b[from:i]...)
		}
		if was != 0 && s.dropping == 0 { // c ends the list
			from = i
		}
	}
	if s.dropping == 0 {
		s.kept = append(s.kept, b[from:]...)
	}
	if len(s.kept) > maxBodyBytes || len(s.stack) > maxDepth {
		s.leftOut, s.kept, s.stack = true, nil, nil
	}
}

// step takes note of one byte.
func (s *sample) step(c byte) {
	switch {
	case s.escaped:
		s.escaped = false
	case s.quoted:
		s.escaped = c == '\\'
		s.quoted = c != '"'
	case c == '"':
		s.quoted = true
	case c == '{' || c == '[':
		if len(s.stack) <= maxDepth {
			s.stack = append(s.stack, container{list: c == '['})
		}
	case c == '}' || c == ']':
		if len(s.stack) == s.dropping {
			s.dropping = 0
		}
		if len(s.stack) > 0 {
			s.stack = s.stack[:len(s.stack)-1]
		}
	case c == ',' && len(s.stack) > 0:
		s.comma()
	}
}

func (s *sample) comma() {
	top := &s.stack[len(s.stack)-1]
	top.comma++
	if !top.list || top.comma < maxElements {
		return
	}
	switch s.dropping {
	case 0:
		s.dropping = len(s.stack)
		s.dropped++
	case len(s.stack):
		s.dropped++
	}
}
