package payload_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

func show(t testing.TB, letter deadletter.Letter, reveal bool) payload.Shown {
	t.Helper()
	shown, err := payload.NewReader(registered).Show(t.Context(), letter, reveal)
	require.NoError(t, err)
	return shown
}

// TestShowMarksWhereDecodingFailed, and shows no byte that may be of a name.
func TestShowMarksWhereDecodingFailed(t *testing.T) {
	t.Parallel()
	_, letter := failed(t)
	shown := show(t, letter, false)
	require.Equal(t, 1, shown.SchemaID)
	require.Contains(t, string(shown.Value), `"first_name":"[masked]"`)
	require.Equal(t, wire.Nowhere, shown.At)
	require.Nil(t, shown.Raw)
	require.Contains(t, string(show(t, letter, true).Value), `"first_name":"Zoë"`)

	name := strings.Index(string(letter.Value), "Zoë")
	letter.Value = letter.Value[:name+2]
	shown = show(t, letter, true)
	require.Equal(t, payload.Shown{
		SchemaID: 1, Undecodable: "corrupt_value: field first_name: the value ends within it", Field: "first_name", At: name - 1, Raw: letter.Value,
	}, shown)
	lines := strings.Split(shown.Dump(), "\n")
	mark := lines[(name-1)/16+1]
	require.Contains(t, mark, "^^ byte ")
	require.Equal(t, "08", lines[(name-1)/16][strings.Index(mark, "^"):][:2], "the length of what is cut short")

	shown = show(t, letter, false)
	require.Equal(t, letter.Value[:5], shown.Raw)
	require.Equal(t, name+2-5, shown.Hidden)
	require.Equal(t, name-1, shown.At)
	require.NotContains(t, shown.Dump(), "^^", "the byte is not shown")
}

func TestDumpMarksAnyByte(t *testing.T) {
	t.Parallel()
	for at, want := range map[int]string{
		0: "          ^^ byte 0", 7: "                               ^^ byte 7", 8: "                                   ^^ byte 8",
		15: "                                                        ^^ byte 15", 16: "          ^^ byte 16", 31: "                                                        ^^ byte 31",
	} {
		lines := strings.Split(payload.Shown{Raw: []byte(strings.Repeat("x", 32)), At: at}.Dump(), "\n")
		require.Equal(t, want, lines[at/16+1])
		require.Len(t, lines, 4)
	}
	for length := range 34 { // behind the end
		require.Contains(t, payload.Shown{Raw: make([]byte, length), At: length}.Dump(), "^^ byte", length)
	}
	require.NotContains(t, payload.Shown{Raw: make([]byte, 5), At: wire.Nowhere}.Dump(), "^^")
}

func TestShowsWhatASourceSent(t *testing.T) {
	t.Parallel()
	letter := deadletter.Letter{Topic: schemas.PeopleTopic, Stage: string(deadletter.StageProduce), Value: []byte(`{"name":"Zoë","id":12345678901234567890,"ok":true}`)}
	require.JSONEq(t, `{"name":"[masked]","id":"[masked]","ok":true}`, string(show(t, letter, false).Value))
	require.Contains(t, string(show(t, letter, true).Value), `"id":12345678901234567890,"name":"Zoë"`)
	letter.Value = []byte(`{"name":Zoë}`)
	require.Equal(t, payload.Shown{Undecodable: "corrupt_value: it is not JSON", At: 8, Raw: []byte{}, Hidden: 13}, show(t, letter, false))
}

func FuzzShow(f *testing.F) {
	_, letter := failed(f)
	f.Add(letter.Value, "", true)
	f.Add(letter.Value[:60], "", false)
	f.Add([]byte(`{"a":[1,{}]}`), string(deadletter.StageProduce), false)
	f.Add([]byte(`{"a":1}}`), string(deadletter.StageProduce), true)
	reader := payload.NewReader(registered)
	f.Fuzz(func(t *testing.T, value []byte, stage string, reveal bool) {
		shown, err := reader.Show(t.Context(), deadletter.Letter{Topic: schemas.PeopleTopic, Stage: stage, Value: value}, reveal)
		require.NoError(t, err)
		require.Equal(t, shown.Value == nil, shown.Undecodable != "")
		if shown.Undecodable == "" {
			return
		}
		require.GreaterOrEqual(t, shown.At, 0, shown.Undecodable)
		require.LessOrEqual(t, shown.At, len(value))
		_ = shown.Dump()
	})
}
