package clickhouse

import (
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

const (
	// firstRead is how much of a statement is read before it is known whether it is an insert. An insert's statement ends
	// in it, unless it lists thousands of columns.
	firstRead = 64 << 10
	// defaultMaxQuerySize is ClickHouse's own default of the setting max_query_size.
	defaultMaxQuerySize = 256 << 10
	// maxStatement bounds what max_query_size may be raised to: a statement is held in memory, an insert's data is not.
	maxStatement = 256 << 20
)

// request is one HTTP request, read as the ClickHouse HTTP interface defines it.
type request struct {
	queryID       string
	database      string
	defaultFormat string
	settings      map[string]string
	parameters    parameters
	// revision is the client's protocol revision, 0 for clients that do not speak Native.
	revision uint64
	// frames asks for the answer in ClickHouse's compressed frames (compress=1).
	frames   bool
	gzip     bool
	readonly bool
	// input is the statement and, behind it, an insert's data.
	input io.Reader
}

// ignoredParameters steer a server's HTTP interface itself and have no meaning here; all others that are not read are settings.
var ignoredParameters = map[string]bool{
	"user": true, "password": true, "quota_key": true, "role": true, "stacktrace": true, "buffer_size": true,
	"wait_end_of_query": true, "session_timeout": true, "session_check": true, "close_session": true,
}

func readRequest(r *http.Request) (*request, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, newException(codeIncorrectRequest, "BAD_ARGUMENTS", "Cannot read the URL's parameters: %s", err)
	}
	req := &request{
		queryID:       uuid.NewString(),
		database:      r.Header.Get("X-ClickHouse-Database"),
		defaultFormat: r.Header.Get("X-ClickHouse-Format"),
		settings:      map[string]string{},
		readonly:      r.Method == http.MethodGet || r.Method == http.MethodHead,
		gzip:          strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"),
	}
	var sql string
	var framed bool
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name][len(values[name])-1]
		switch {
		case name == "query":
			sql = strings.Join(values[name], "") + "\n"
		case name == "query_id":
			req.queryID = value
		case name == "database":
			req.database = value
		case name == "default_format":
			req.defaultFormat = value
		case name == "compress":
			req.frames = isOn(value)
		case name == "decompress":
			framed = isOn(value)
		case name == "enable_http_compression":
			req.gzip = req.gzip && isOn(value)
		case name == "client_protocol_version":
			if req.revision, err = strconv.ParseUint(value, 10, 32); err != nil {
				return nil, newException(codeIncorrectRequest, "BAD_ARGUMENTS", "client_protocol_version %q is not a number", value)
			}
		case name == "session_id":
			return nil, newException(codeNotImplemented, "NOT_IMPLEMENTED", "The embedded ClickHouse keeps no HTTP sessions: leave session_id out")
		case strings.HasPrefix(name, "param_"):
			req.parameters.names = append(req.parameters.names, strings.TrimPrefix(name, "param_"))
			req.parameters.values = append(req.parameters.values, value)
		case !ignoredParameters[name]:
			req.settings[name] = value
		}
	}
	if req.defaultFormat == "" {
		req.defaultFormat = "TabSeparated"
	}
	body, err := decodedBody(r, framed)
	if err != nil {
		return nil, err
	}
	req.input = io.MultiReader(strings.NewReader(sql), body)
	return req, nil
}

// decodedBody undoes a body's compression: HTTP's, then ClickHouse's own frames.
func decodedBody(r *http.Request, framed bool) (body io.Reader, err error) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return nil, newException(codeNotImplemented, "NOT_IMPLEMENTED", "The embedded ClickHouse takes no external tables (multipart requests)")
	}
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		body = r.Body
	case "gzip":
		body, err = gzip.NewReader(r.Body)
	case "deflate":
		body, err = zlib.NewReader(r.Body)
	default:
		return nil, newException(codeUnknownCompressed, "UNKNOWN_COMPRESSION_METHOD", "Content-Encoding %q is not one of gzip, deflate", encoding)
	}
	if err != nil {
		return nil, newException(codeCannotReadAll, "CANNOT_READ_ALL_DATA", "Cannot read the compressed body: %s", err)
	}
	if framed {
		body = newFrameReader(body)
	}
	return body, nil
}

// readStatement reads the statement, and for an insert with data no more than its beginning: rest is the data.
func (r *request) readStatement() (parsed statement, rest io.Reader, err error) {
	text, ended, err := readUpTo(r.input, nil, firstRead)
	if err != nil {
		return statement{}, nil, err
	}
	parsed, complete := parseStatement(text)
	// One byte more than the limit, so that the engine says itself that there are too many.
	if limit := r.maxQuerySize() + 1; !ended && len(text) < limit && (!complete || parsed.data < 0) {
		if text, _, err = readUpTo(r.input, []byte(text), limit); err != nil {
			return statement{}, nil, err
		}
		parsed, _ = parseStatement(text)
	}
	if parsed.data < 0 {
		return parsed, nil, nil
	}
	rest = io.MultiReader(strings.NewReader(text[parsed.data:]), r.input)
	if strings.EqualFold(parsed.format, "Values") {
		rest = &valuesReader{data: rest}
	}
	return parsed, rest, nil
}

func (r *request) maxQuerySize() int {
	size, err := strconv.Atoi(r.settings["max_query_size"])
	switch {
	case err != nil:
		return defaultMaxQuerySize
	case size <= 0 || size > maxStatement: // 0 lifts the engine's limit
		return maxStatement
	}
	return size
}

// useStatement and setStatement put a fresh session into the state that the request asks for.
func (r *request) useStatement() string {
	if r.database == "" || r.database == "default" {
		return ""
	}
	return "USE `" + escape(r.database, "`") + "`"
}

func (r *request) setStatement() string {
	if len(r.settings) == 0 {
		return ""
	}
	var set []string
	for _, name := range slices.Sorted(maps.Keys(r.settings)) {
		set = append(set, "`"+escape(name, "`")+"` = '"+escape(r.settings[name], "'")+"'")
	}
	return "SET " + strings.Join(set, ", ")
}

// escape makes a text safe between quotes of one kind.
func escape(text, quote string) string {
	return strings.NewReplacer(`\`, `\\`, quote, `\`+quote).Replace(text)
}

func isOn(value string) bool { return value == "1" || value == "true" }

// readUpTo reads until text is limit bytes long or the reader has ended.
func readUpTo(reader io.Reader, text []byte, limit int) (string, bool, error) {
	more, err := io.ReadAll(io.LimitReader(reader, int64(limit-len(text))))
	if err != nil {
		return "", false, fmt.Errorf("%w: %w", errReadingBody, err)
	}
	text = append(text, more...)
	return string(text), len(text) < limit, nil
}
