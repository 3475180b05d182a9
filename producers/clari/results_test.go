package clari

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

const small = `{"users":[{"userId":1,"name":null,"scopeId":{ "id" : 5 }},{"userId":"1","name":"second"},7],"other":{"entries":[[{}]]},
 "entries":[{"timePeriodId":"P","timeFrameId":"F","userId":1,"fieldId":"f","forecastValue":1.50}, 5, {"timePeriodId":"P"}],
 "fields":[{"fieldId":"f","fieldName":"Feld"}],"timeFrames":null,"timePeriods":[{"timePeriodId":"P","year":2024}]} `

func spooled(t *testing.T, document string) *Export {
	t.Helper()
	e, err := readExport(strings.NewReader(document), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func TestReferenceListsAreReadLeniently(t *testing.T) {
	t.Parallel()
	e := spooled(t, small)
	require.Equal(t, []User{{ID: "1", ScopeID: `{"id":5}`}, {ID: "1", Name: "second"}}, e.Users)
	require.Same(t, &e.Users[0], e.User("1"), "the first of two")
	require.Equal(t, 1, e.Malformed)
	require.Equal(t, []TimePeriod{{ID: "P", Year: "2024"}}, e.TimePeriods)
	require.Empty(t, e.TimeFrames)
	require.Equal(t, 3, e.EntryCount)
	require.EqualValues(t, len(small), e.Bytes)
	require.Nil(t, e.TimeFrame("F"))
}

// A document that is cut anywhere is known as such before its first entry is used, and leaves nothing on the disk.
func TestDocumentsCutShort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for n := range len(strings.TrimSpace(small)) {
		_, err := readExport(strings.NewReader(small[:n]), dir)
		require.ErrorIs(t, err, ErrBadResults, "cut at byte %d", n)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "cut at byte %d", n)
	}
	reset := errors.New("connection reset")
	_, err := readExport(io.MultiReader(strings.NewReader(small[:200]), iotest.ErrReader(reset)), dir)
	require.ErrorIs(t, err, reset)
	require.NotErrorIs(t, err, ErrBadResults, "the network's error is not the document's")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	open, _ := filepath.Glob("/proc/self/fd/*") // nothing where there is no /proc
	for _, fd := range open {
		file, _ := os.Readlink(fd)
		require.NotContains(t, file, dir, "left open")
	}
}

func TestDocumentsThatAreNoResults(t *testing.T) {
	t.Parallel()
	for _, document := range []string{
		`<html>`, `[]`, `null`, `{}`, `{"message":"gone"}`, `{"entries":{}}`, `{"entries":[]}{}`, `{"entries":[]} x`,
		`{"entries":[],"entries":[]}`, `{"entries":[1 2]}`, `{"entries":[],"users":[}]}`, `{"entries":[{"a":01}]}`, `{"entries":[],}`,
	} {
		_, err := readExport(strings.NewReader(document), t.TempDir())
		require.ErrorIs(t, err, ErrBadResults, document)
	}
	require.Zero(t, spooled(t, `{"entries":null}`).EntryCount)
	for _, err := range spooled(t, `{"entries":null}`).Entries(t.Context()) {
		require.Fail(t, "an entry of nothing", "%v", err)
	}
}

// endless is a document of one entry after another, up to a size.
func endless(size int64, entry string) io.Reader {
	return io.MultiReader(strings.NewReader(`{"entries":[`), io.LimitReader(&repeated{text: entry + ","}, size/int64(len(entry)+1)*int64(len(entry)+1)),
		strings.NewReader(entry+`],"users":[]}`))
}

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		c := copy(b[n:], r.text[r.at:])
		n += c
		r.at = (r.at + c) % len(r.text)
	}
	return n, nil
}

const anEntry = `{"timePeriodId":"2023_Q4","timeFrameId":"TF:2022-12-07","userId":"280627:00E4M000001RgqRUAS","fieldId":"fc_net_commit",` +
	`"forecastValue":125000.0,"crmTotalValue":3.5,"currency":{"code":"USD","symbol":"$"},"isUpdated":true,"updatedBy":"280627","updatedOn":1670400000000}`

// The entries are on the disk and nowhere else: once the file is emptied they are gone.
func TestEntriesAreNotHeldInMemory(t *testing.T) {
	t.Parallel()
	e, err := readExport(endless(8<<20, anEntry), t.TempDir())
	require.NoError(t, err)
	defer e.Close()
	info, err := e.spool.Stat()
	require.NoError(t, err)
	require.Equal(t, e.Bytes, info.Size())
	n := 0
	for entry, err := range e.Entries(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, "fc_net_commit", entry.FieldID)
		if n++; n == 10 {
			break
		}
	}
	require.NoError(t, e.spool.Truncate(0))
	for _, err := range e.Entries(t.Context()) {
		require.ErrorIs(t, err, ErrBadResults)
	}
}

// One element may not make us hold more than its share, neither in the first pass nor within what is skipped.
func TestElementsAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 2*maxElementBytes) // what was read ahead of an element comes on top of its own share
	for _, document := range []string{
		`{"entries":["` + long + `"]}`, `{"entries":[],"users":[{"name":"` + long + `"}]}`, `{"entries":[],"note":"` + long + `"}`,
	} {
		_, err := readExport(strings.NewReader(document), t.TempDir())
		require.ErrorIs(t, err, errTooLong)
		require.ErrorIs(t, err, ErrBadResults)
	}
	many := `{"entries":[],"other":[` + strings.Repeat(`"`+long[:1<<19]+`",`, 8) + `1]}`
	require.Zero(t, spooled(t, many).EntryCount, "skipped piece by piece")
}

func TestSpoolFileIsGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, err := readExport(strings.NewReader(small), dir)
	require.NoError(t, err)
	info, err := e.spool.Stat()
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, e.Close())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	_, err = readExport(strings.NewReader(small), dir+"/nowhere")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "spool")
}

func TestParseEntry(t *testing.T) {
	t.Parallel()
	parser := newEntryParser() // one for all: nothing of an entry may be left for the next
	const ids = `"timePeriodId":"P","timeFrameId":"F","userId":"U","fieldId":"f"`
	base := Entry{TimePeriodID: "P", TimeFrameID: "F", UserID: "U", FieldID: "f"}
	with := func(change func(*Entry)) Entry {
		e := base
		change(&e)
		return e
	}
	values := func(pairs ...string) Entry {
		return with(func(e *Entry) {
			for i := 0; i < len(pairs); i += 2 {
				e.Values = append(e.Values, Value{pairs[i], json.Number(pairs[i+1])})
			}
		})
	}
	for input, want := range map[string]Entry{
		`{` + ids + `}`: base,
		`{` + ids + `,"forecastValue":1.0,"quotaValue":2e-1,"forecastUpdatedValue":-3,"adjustmentValue":4,"crmTotalValue":5,"crmClosedValue":6}`: values("adjustment", "4", "crm_closed", "6", "crm_total", "5", "forecast", "1.0", "forecast_updated", "-3", "quota", "2e-1"),
		`{` + ids + `,"forecast":1,"quota":2,"forecast_updated":3,"adjustment":4,"crm_total":5,"crmClosed":6}`:                                   values("adjustment", "4", "crm_closed", "6", "crm_total", "5", "forecast", "1", "forecast_updated", "3", "quota", "2"),
		`{` + ids + `,"CRMTotal":1,"crm_closed_value":2}`:                                                                                        values("crm_closed", "2", "crm_total", "1"),
		`{` + ids + `,"bestCaseValue":1,"newThing":2,"value":3}`:                                                                                 values("best_case", "1", "new_thing", "2", "value", "3"),
		`{` + ids + `,"crmTotal":7,"crmTotalValue":7}`:                                                                                           values("crm_total", "7"),
		`{` + ids + `,"forecastValue":"12.50","quotaValue":null,"note":"5","more":{"x":1}}`:                                                      values("forecast", "12.50"),
		`{` + ids + `,"currency":{"code":"EUR","symbol":"€","x":[]},"isUpdated":"true","updatedBy":17,"updatedOn":"1670400000001"}`: with(func(e *Entry) {
			e.Currency, e.IsUpdated, e.UpdatedBy, e.UpdatedOn = Currency{"EUR", "€"}, true, "17", time.UnixMilli(1670400000001).UTC()
		}),
		`{` + ids + `,"currency":"EUR","isUpdated":null,"updatedBy":null,"updatedOn":null}`:  with(func(e *Entry) { e.Currency.Code = "EUR" }),
		`{` + ids + `,"":1,"currency":null,"updatedOn":0}`:                                   base,
		`{"timePeriodId":"P","timeFrameId":"F","userId":12345678901234567890,"fieldId":"f"}`: with(func(e *Entry) { e.UserID = "12345678901234567890" }),
	} {
		for range 2 { // the second finds what the first has left in the parser
			got, err := parser.parse(json.RawMessage(input))
			require.NoError(t, err, input)
			want.Raw = input
			require.Equal(t, want, got, input)
		}
	}
	for input, want := range map[string]string{
		`[]`: "not an object", `null`: "not an object", `7`: "not an object",
		`{"timePeriodId":"P","timeFrameId":"F","userId":"U"}`:                "fieldId is missing",
		`{"timePeriodId":null,"timeFrameId":"F","userId":"U","fieldId":"f"}`: "timePeriodId is missing",
		`{"timePeriodId":"P","timeFrameId":"F","userId":{},"fieldId":"f"}`:   "userId: neither",
		`{` + ids + `,"forecastValue":"secret"}`:                             "the value of kind forecast: not a number",
		`{` + ids + `,"forecastValue":"1secret"}`:                            "the value of kind forecast: not a number",
		`{` + ids + `,"forecastValue":"NaN"}`:                                "the value of kind forecast: not a number",
		`{` + ids + `,"forecastValue":""}`:                                   "the value of kind forecast: not a number",
		`{` + ids + `,"crmTotal":true}`:                                      "the value of kind crm_total: not a number",
		`{` + ids + `,"adjustment":{"secret":1}}`:                            "the value of kind adjustment: not a number",
		`{` + ids + `,"adjustment":1,"adjustmentValue":2}`:                   "two different values",
		`{` + ids + `,"updatedOn":"secret"}`:                                 "updatedOn: not a time",
		`{` + ids + `,"updatedOn":-5}`:                                       "updatedOn: not a time",
		`{` + ids + `,"updatedOn":253402300800000}`:                          "updatedOn: not a time",
		`{` + ids + `,"isUpdated":"secret"}`:                                 "isUpdated: neither",
		`{` + ids + `,"currency":["secret"]}`:                                "currency: neither",
	} {
		got, err := parser.parse(json.RawMessage(input))
		require.ErrorContains(t, err, want, input)
		require.NotContains(t, err.Error(), "secret", input)
		require.Equal(t, Entry{}, got, input)
	}
}

func TestJobAcceptsEveryEnvelope(t *testing.T) {
	t.Parallel()
	want := Job{ID: "42", Status: StatusFailed, StartTime: time.UnixMilli(1617830857175).UTC(), RowsTruncated: true}
	for _, input := range []string{
		`{"jobId":42,"status":"FAILED","startTime":1617830857175,"rowsTruncated":true,"endTime":null,"new":{}}`,
		`{"job":{"jobId":"42","status":"FAILED","startTime":"1617830857175","rowsTruncated":"true","endTime":0,"cellsTruncated":null}}`,
	} {
		var got Job
		require.NoError(t, json.Unmarshal([]byte(input), &got))
		require.Equal(t, want, got)
	}
	for _, input := range []string{`{}`, `{"job":{}}`, `{"job":{"jobId":"1"}}`, `[]`, `{"jobId":"1","status":"DONE","startTime":"soon"}`} {
		var got Job
		require.Error(t, json.Unmarshal([]byte(input), &got), input)
	}
	require.False(t, Job{Status: "SOMETHING_NEW"}.Terminal())
}

// FuzzResults holds the streaming parser against encoding/json reading the document whole.
func FuzzResults(f *testing.F) {
	for _, seed := range []string{
		small, `{"entries":[` + anEntry + `]}`, `{"entries":null,"users":{}}`, `{"entries":[],"x":[[[{"a":[]}]]]}`, `{"entries":[{}],"users":[null]}`,
		`{"entries":[{"a":1e3,"\u0061":0.1}]} `, "{\"entries\":[\"\xff\"]}", `{"entries":[1`, `{"a":1e700,"entries":[{"b":-1e-700}]}`, `{"a":{"entries":[1]},"entries":[2,3]}`, ``,
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, document []byte) {
		var whole map[string]json.RawMessage
		invalid := json.Unmarshal(document, &whole) != nil
		e, err := readExport(bytes.NewReader(document), dir)
		if invalid {
			require.ErrorIs(t, err, ErrBadResults)
		}
		if err != nil {
			require.ErrorIs(t, err, ErrBadResults)
			return
		}
		defer e.Close()
		var entries []json.RawMessage
		require.NoError(t, json.Unmarshal(whole["entries"], &entries))
		require.Len(t, entries, e.EntryCount)
		n := 0
		for entry, err := range e.Entries(t.Context()) {
			checkEntry(t, n, entries[n], entry, err)
			n++
		}
		require.Equal(t, e.EntryCount, n)
	})
}

// checkEntry holds a parsed entry against its source.
func checkEntry(t *testing.T, n int, source json.RawMessage, entry Entry, err error) {
	if err != nil {
		var bad *EntryError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, n, bad.Index)
		require.Equal(t, Entry{}, entry)
		return
	}
	require.NotEmpty(t, entry.TimePeriodID)
	require.NotEmpty(t, entry.UserID)
	for _, v := range entry.Values {
		require.NotEmpty(t, v.Kind)
		require.True(t, json.Valid([]byte(v.Number)))
		require.Contains(t, string(source), v.Number.String(), "the digits as they came")
	}
}

// FuzzSplit holds how an element is taken apart against encoding/json.
func FuzzSplit(f *testing.F) {
	var many strings.Builder
	for i := range 3 * fewMembers {
		fmt.Fprintf(&many, `"k%d":%d,`, i%(2*fewMembers), i)
	}
	for _, seed := range []string{
		anEntry, `{}`, " {\t} ", `{"a":1,"a":"2"}`, `{"\u0061":1,"a":[1,{"b":"]}"}],"":null}`, `{"a\"":"\\","b":"\\\""}`, "{\"a\xff\":\"\xff\"}",
		`{"a" : -1e3 , "b":true,"c": {"d":{}} }`, "{\"a\":1\n,\r\"b\":[]}", `{` + many.String() + `"":0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, element []byte) {
		var want map[string]json.RawMessage
		if json.Unmarshal(element, &want) != nil || want == nil {
			return
		}
		parser := newEntryParser()
		for range 2 { // the second finds what the first has left in the parser
			require.NoError(t, parser.split(string(bytes.TrimLeft(element, " \t\r\n"))))
			got := map[string]json.RawMessage{}
			for _, m := range parser.members {
				require.NotContains(t, got, m.key)
				got[m.key] = json.RawMessage(m.json)
			}
			require.Equal(t, want, got)
		}
	})
}

// TestAnEntryCostsTwoAllocations: its copy, which all of its texts are part of, and its values.
//
//nolint:paralleltest // allocations are the whole process's
func TestAnEntryCostsTwoAllocations(t *testing.T) {
	parser, raw := newEntryParser(), json.RawMessage(anEntry)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
		if _, err := parser.parse(raw); err != nil {
			panic(err)
		}
	}), 2.0)
}

func BenchmarkResults(b *testing.B) {
	const size = 64 << 20
	entries := 0
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		e, err := readExport(endless(size, anEntry), b.TempDir())
		require.NoError(b, err)
		for _, err := range e.Entries(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
		}
		entries += e.EntryCount
		require.NoError(b, e.Close())
	}
	b.ReportMetric(float64(entries)/b.Elapsed().Seconds(), "entries/s")
}
