package clickhouse

import "strings"

// statement is a request's SQL, taken apart as far as the front must know it.
type statement struct {
	sql string
	// format is the FORMAT clause's name, "" without one. For an insert with data it is the data's.
	format string
	// data is the offset in sql behind which an insert's data begins, -1 for every other statement.
	data int
	// head is the end of an insert's statement before its FORMAT or VALUES.
	head int
}

// parseStatement finds an insert's data, or the FORMAT clause of anything else. The text may be the beginning of a longer
// one: complete says whether the answer would be the same with the rest.
func parseStatement(text string) (parsed statement, complete bool) {
	lex := lexer{text: text}
	first := lex.next()
	for first.kind == tokenOther && text[first.start:first.end] == "(" {
		first = lex.next()
	}
	if first.is(text, "INSERT") && lex.depth == 0 {
		return parseInsert(text, &lex)
	}
	return statement{sql: text, format: formatClause(text), data: -1}, first.kind != tokenEnd
}

// parseInsert goes through INSERT INTO [TABLE|FUNCTION] name … up to the first keyword that says where the rows come from.
func parseInsert(text string, lex *lexer) (statement, bool) {
	plain := statement{sql: text, data: -1}
	token := lex.next()
	for token.is(text, "INTO") || token.is(text, "TABLE") || token.is(text, "FUNCTION") {
		token = lex.next()
	}
	// token is the table's name, whatever it is called: the keywords come behind it.
	for token = lex.next(); token.kind != tokenEnd; token = lex.next() {
		switch {
		case lex.depth > 0:
		case token.is(text, "."):
			lex.next()
		case token.is(text, "SELECT"), token.is(text, "WITH"), token.is(text, "FROM"):
			return plain, true
		case token.is(text, "VALUES"):
			return statement{sql: text, format: "Values", head: token.start, data: token.end}, token.end < len(text)
		case token.is(text, "FORMAT"):
			name := lex.next()
			data := dataStart(text, name.end)
			// Without a byte behind it, the name or the blanks behind it may go on in what is still to be read.
			return statement{sql: text, format: text[name.start:name.end], head: token.start, data: data}, data < len(text)
		}
	}
	return plain, false
}

// dataStart is where the data behind a FORMAT clause begins: after blanks and at most one line end. What follows is the
// data's, line ends included.
func dataStart(text string, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '\f') {
		at++
	}
	if at < len(text) && text[at] == '\r' {
		at++
	}
	if at < len(text) && text[at] == '\n' {
		at++
	}
	return at
}

// formatClause returns the name in a FORMAT clause: FORMAT and a word that nothing follows but SETTINGS, INTO or the end.
func formatClause(text string) string {
	lex := lexer{text: text}
	for token := lex.next(); token.kind != tokenEnd; token = lex.next() {
		if lex.depth > 0 || !token.is(text, "FORMAT") {
			continue
		}
		ahead := lex
		name, behind := ahead.next(), ahead.next()
		if name.is(text, "ASC") || name.is(text, "DESC") {
			continue // a column called format
		}
		if name.kind == tokenWord && (behind.kind == tokenEnd || behind.is(text, ";") || behind.is(text, "SETTINGS") || behind.is(text, "INTO")) {
			return text[name.start:name.end]
		}
	}
	return ""
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenQuoted
	tokenOther
)

type token struct {
	kind       tokenKind
	start, end int
}

// is compares an unquoted token with a keyword or a sign.
func (t token) is(text, keyword string) bool {
	return t.kind != tokenQuoted && strings.EqualFold(text[t.start:t.end], keyword)
}

// lexer walks over ClickHouse SQL: words, quoted things, comments, and the depth of parentheses around the last token.
type lexer struct {
	text  string
	at    int
	depth int
}

func (l *lexer) next() token {
	l.skipBlanks()
	start := l.at
	if start >= len(l.text) {
		return token{kind: tokenEnd, start: len(l.text), end: len(l.text)}
	}
	kind := tokenOther
	switch c := l.text[start]; {
	case isWordByte(c):
		kind = tokenWord
		for l.at < len(l.text) && isWordByte(l.text[l.at]) {
			l.at++
		}
	case c == '\'' || c == '"' || c == '`':
		kind = tokenQuoted
		l.skipQuoted(c)
	default:
		switch c {
		case '(', '[', '{':
			l.depth++
		case ')', ']', '}':
			l.depth--
		}
		l.at++
	}
	return token{kind: kind, start: start, end: l.at}
}

func (l *lexer) skipQuoted(quote byte) {
	for l.at++; l.at < len(l.text); l.at++ {
		switch l.text[l.at] {
		case '\\':
			l.at++
		case quote:
			// A doubled quote opens again at once, which has the same effect as going on.
			l.at++
			return
		}
	}
	l.at = len(l.text)
}

func (l *lexer) skipBlanks() {
	for l.at < len(l.text) {
		rest := l.text[l.at:]
		switch {
		case strings.IndexByte(" \t\r\n\f\v", rest[0]) >= 0:
			l.at++
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "#!"), strings.HasPrefix(rest, "# "):
			l.skipPast(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			l.skipPast(rest, "*/")
		default:
			return
		}
	}
}

func (l *lexer) skipPast(rest, end string) {
	if i := strings.Index(rest, end); i >= 0 {
		l.at += i + len(end)
		return
	}
	l.at = len(l.text)
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
