package clickhouse

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestParseStatement(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct{ head, format, data string }{
		"INSERT INTO t VALUES (1)":                                   {"INSERT INTO t ", "Values", " (1)"},
		"insert t(a)values(1)":                                       {"insert t(a)", "Values", "(1)"},
		"INSERT INTO values VALUES (1)":                              {"INSERT INTO values ", "Values", " (1)"},
		"INSERT INTO `a b`.format (\"values\", s) FORMAT CSV\n\n1":   {"INSERT INTO `a b`.format (\"values\", s) ", "CSV", "\n1"},
		"INSERT INTO db.format FORMAT Native \t\r\n\x00\n":           {"INSERT INTO db.format ", "Native", "\x00\n"},
		"INSERT INTO FUNCTION f('VALUES', x) SETTINGS a=1 FORMAT A ": {"INSERT INTO FUNCTION f('VALUES', x) SETTINGS a=1 ", "A", ""},
		"-- VALUES\n/* FORMAT X */INSERT INTO t FORMAT RowBinary\nx": {"-- VALUES\n/* FORMAT X */INSERT INTO t ", "RowBinary", "x"},
	} {
		parsed, _ := parseStatement(text)
		require.GreaterOrEqual(t, parsed.data, 0, text)
		require.Equal(t, want.head, text[:parsed.head])
		require.Equal(t, want.format, parsed.format)
		require.Equal(t, want.data, text[parsed.data:])
	}
	for text, format := range map[string]string{
		"INSERT INTO t SELECT 1 FORMAT CSV":  "", // the engine's business
		"INSERT INTO t WITH 1 AS x SELECT x": "", "INSERT INTO t FROM INFILE 'VALUES'": "", "INSERT INTO t (a)": "",
		"SELECT 1 FORMAT JSON": "JSON", "SELECT 1 format json;": "json", "(SELECT 1) FORMAT Null SETTINGS a = 1": "Null",
		"SELECT (1 FORMAT X)": "", "SELECT `FORMAT` X": "", "SELECT 'a\\' FORMAT X": "", "SELECT 'it''s' FORMAT X": "X", "": "", "'": "",
	} {
		parsed, _ := parseStatement(text)
		require.Equal(t, -1, parsed.data, text)
		require.Equal(t, format, parsed.format, text)
	}
}

// An insert is found with whatever part of it the first read brings, as soon as it says that it is complete.
func FuzzParseStatement(f *testing.F) {
	f.Add("INSERT INTO t (a) FORMAT CSV\n\n1", 28)
	f.Add("INSERT INTO t VALUES ('x'); SELECT 1", 20)
	f.Add("SELECT 'a' /* ( */ FORMAT JSON SETTINGS a = 1", 5)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		whole, _ := parseStatement(text)
		require.LessOrEqual(t, whole.data, len(text))
		require.LessOrEqual(t, whole.head, len(text))
		if cut < 0 || cut > len(text) {
			return
		}
		if part, complete := parseStatement(text[:cut]); complete && part.data >= 0 {
			require.Equal(t, whole.data, part.data)
			require.Equal(t, whole.head, part.head)
			require.Equal(t, whole.format, part.format)
		}
	})
}

func TestValuesReader(t *testing.T) {
	t.Parallel()
	for text, refused := range map[string]bool{
		"(1, ';'), (2, '\\';'), ([';'])": false, "(1) ; \n\t;": false, "('it'';s')": false, "(1); (2)": true, "(1);SELECT 1": true,
	} {
		_, err := io.ReadAll(&valuesReader{data: iotest.OneByteReader(strings.NewReader(text))})
		require.Equal(t, refused, err != nil, text)
	}
}

func TestFramesEnd(t *testing.T) {
	t.Parallel()
	var framed strings.Builder
	_, err := newFrameWriter(&framed).Write([]byte(strings.Repeat("x", frameSize+1)))
	require.NoError(t, err)
	text, err := io.ReadAll(newFrameReader(strings.NewReader(framed.String())))
	require.NoError(t, err)
	require.Len(t, text, frameSize+1)
	for _, cut := range []int{1, 25, framed.Len() - 1} { // 25 is a header without its frame
		_, err = io.ReadAll(newFrameReader(strings.NewReader(framed.String()[:cut])))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}
