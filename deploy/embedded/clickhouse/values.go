package clickhouse

import "io"

// valuesReader passes on the data behind VALUES, and fails on anything but blanks behind the ";" that ends it: the engine's
// reader stops there without a word, and a second statement in the request would be lost in silence.
type valuesReader struct {
	data    io.Reader
	depth   int
	quote   byte // the quote that the last byte was inside of, 0 outside
	escaped bool // the last byte was a backslash inside quotes
	ended   bool // a ";" was seen
}

func (v *valuesReader) Read(p []byte) (int, error) {
	n, err := v.data.Read(p)
	for _, c := range p[:n] {
		if v.ended && c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != ';' {
			return 0, newException(codeSyntaxError, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
		}
		v.step(c)
	}
	return n, err
}

func (v *valuesReader) step(c byte) {
	switch {
	case v.escaped:
		v.escaped = false
	case v.quote != 0:
		v.escaped = c == '\\'
		if c == v.quote {
			v.quote = 0
		}
	case c == '\'' || c == '"' || c == '`':
		v.quote = c
	case c == '(' || c == '[' || c == '{':
		v.depth++
	case c == ')' || c == ']' || c == '}':
		v.depth--
	case c == ';' && v.depth == 0:
		v.ended = true
	}
}
