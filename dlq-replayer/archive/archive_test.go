package archive_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/dlq-replayer/archive"
	"github.com/revstream/revstream/pipeline/deadletter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var failed = time.Date(2026, 2, 3, 4, 5, 6, 789_012_000, time.UTC)

// letter is one with everything that a record may have.
func letter(offset int64) deadletter.Letter {
	return deadletter.Letter{
		Partition: 3, Offset: offset, Topic: "revenue.people.v1", OriginalPartition: 2, OriginalOffset: 1 << 40, Timestamp: failed.Add(-time.Hour),
		Key: []byte("salesloft:42"), Value: []byte("\x00\x00\x00\x00\x01\xff\xfe Zoë\n"),
		Headers: []kgo.RecordHeader{
			{Key: "b", Value: []byte("2")}, {Key: "a", Value: []byte("<1>")}, {Key: "b", Value: []byte{0xff, 0}}, {Key: "", Value: []byte{}},
			{Key: "null"}, {Key: "\xff", Value: []byte("\u2028\"\\")},
		},
		Reason: "validation", Message: "title is <empty>", Stage: "decode", Group: "people-consumer", Version: "1.2.3", Attempts: 2,
		FirstFailure: failed, LastFailure: failed.Add(time.Microsecond), EventID: "018e183c", CorrelationID: "run", Replays: 1, ReplayID: "r-1",
	}
}

func record(l deadletter.Letter) archive.Record {
	return archive.Record{
		ID: fmt.Sprintf("%s/%d/%d", l.Topic, l.Partition, l.Offset), State: "open", Letter: l, Schema: 1, Value: `{"first_name":"[masked]"}`,
	}
}

func letters() []deadletter.Letter {
	all := []deadletter.Letter{letter(0), letter(1), letter(2), letter(3), letter(4)}
	all[1].Key, all[1].Value, all[1].Headers = nil, nil, nil
	all[2].Key, all[2].Value = []byte{}, []byte{}
	all[3].Key, all[3].Timestamp = []byte{0xff, '"'}, time.UnixMilli(-1).UTC()
	all[4].Value, all[4].FirstFailure = bytes.Repeat([]byte("\xde\xad"), 1<<20), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	return all
}

// write makes an archive of letters and returns its path.
func write(t testing.TB, format string, reveal bool, all ...deadletter.Letter) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "letters."+format)
	w, err := archive.Create(path, "", nil, reveal)
	require.NoError(t, err)
	for _, l := range all {
		require.NoError(t, w.Write(record(l)))
	}
	require.NoError(t, w.Close())
	w.Abort()
	return path
}

// read returns the letters of an archive, up to an error.
func read(t testing.TB, path, format string, stdin io.Reader) (all []deadletter.Letter, err error) {
	t.Helper()
	r, err := archive.Open(path, format, stdin)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		l, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			_, again := r.Next()
			require.Equal(t, err, again)
			return all, err
		}
		all = append(all, l)
	}
}

func eachFormat(t *testing.T, test func(t *testing.T, format string)) {
	t.Helper()
	for _, format := range []string{archive.JSONLines, archive.Parquet} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			test(t, format)
		})
	}
}

// TestLettersComeBackByteForByte.
func TestLettersComeBackByteForByte(t *testing.T) {
	t.Parallel()
	eachFormat(t, func(t *testing.T, format string) {
		path := write(t, format, true, letters()...)
		got, err := read(t, path, "", nil)
		require.NoError(t, err)
		require.Equal(t, letters(), got)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode(), "it may hold personal data")
		many := make([]deadletter.Letter, 100) // more than are read at once
		for i := range many {
			many[i] = letter(int64(i))
			if i/32%2 == 0 {
				many[i].Value = bytes.Repeat([]byte{byte(i)}, 100-i)
			} else {
				many[i].Key, many[i].Value, many[i].Headers = nil, nil, nil
			}
		}
		got, err = read(t, write(t, format, true, many...), "", nil)
		require.NoError(t, err)
		require.Equal(t, many, got)
		empty, err := read(t, write(t, format, true), "", nil)
		require.NoError(t, err)
		require.Empty(t, empty)
	})
}

func TestStreams(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := archive.Create("-", "", &out, true)
	require.NoError(t, err)
	for _, l := range letters() {
		require.NoError(t, w.Write(record(l)))
	}
	require.NoError(t, w.Close())
	got, err := read(t, "-", "", &out)
	require.NoError(t, err)
	require.Equal(t, letters(), got)

	_, err = read(t, "-", archive.Parquet, &out)
	require.ErrorContains(t, err, "standard input")
	for _, format := range []string{archive.JSONLines, archive.Parquet} {
		w, err = archive.Create("-", format, full{}, true)
		require.NoError(t, err)
		require.NoError(t, w.Write(record(letter(0))))
		require.ErrorContains(t, w.Close(), "no space left")
	}
}

// full is a disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestMaskedLettersAreForReadersAlone: nothing of the bytes is in the file, and it cannot be imported.
func TestMaskedLettersAreForReadersAlone(t *testing.T) {
	t.Parallel()
	eachFormat(t, func(t *testing.T, format string) {
		path := write(t, format, false, letter(0), letter(1))
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "Zo")
		got, err := read(t, path, "", nil)
		require.ErrorIs(t, err, archive.ErrMasked)
		require.Regexp(t, `^(line|row) 1 of the archive was exported without the bytes .* with --reveal$`, err.Error())
		require.Empty(t, got)
	})
}

// TestOthersReadTheTable: its columns are flat, and of plain types.
func TestOthersReadTheTable(t *testing.T) {
	t.Parallel()
	file, err := os.Open(write(t, archive.Parquet, true, letters()...))
	require.NoError(t, err)
	defer file.Close()
	info, err := file.Stat()
	require.NoError(t, err)
	table, err := parquet.OpenFile(file, info.Size())
	require.NoError(t, err)
	var columns []string
	for _, field := range table.Schema().Fields() {
		require.True(t, field.Leaf(), field.Name())
		require.False(t, field.Repeated(), field.Name())
		columns = append(columns, field.Name()+" "+field.Type().String())
	}
	require.Equal(t, []string{
		"id STRING", "state STRING", "topic STRING", "partition INT(32,true)", "offset INT(64,true)", "original_partition INT(32,true)",
		"original_offset INT(64,true)", "timestamp TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)", "reason STRING", "message STRING", "stage STRING",
		"group STRING", "version STRING", "attempts INT(32,true)", "first_failure TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)",
		"last_failure TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)", "event_id STRING", "correlation_id STRING", "replays INT(32,true)", "replay_id STRING",
		"key STRING", "key_bytes BYTE_ARRAY", "headers STRING", "schema INT(64,true)", "value STRING", "undecodable STRING", "masked BOOLEAN",
		"value_size INT(64,true)", "value_bytes BYTE_ARRAY", "checksum INT(64,true)",
	}, columns)
	type other struct {
		Key     *string `parquet:"key"`
		Headers string  `parquet:"headers"`
		Value   *string `parquet:"value"`
	}
	rows := make([]other, 1)
	_, err = parquet.NewGenericReader[other](table).Read(rows)
	if !errors.Is(err, io.EOF) {
		require.NoError(t, err)
	}
	require.Equal(t, "salesloft:42", *rows[0].Key)
	require.JSONEq(t, `{"first_name":"[masked]"}`, *rows[0].Value)
	require.Contains(t, rows[0].Headers, `{"name":"b","value":"2"},{"name":"a","value":"`)
}

// TestDamagedLinesAreTold by their number, and nothing of them is taken.
func TestDamagedLinesAreTold(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(write(t, archive.JSONLines, true, letter(0), letter(1)))
	require.NoError(t, err)
	first, second, _ := strings.Cut(string(raw), "\n")
	for name, c := range map[string]struct{ text, want string }{
		"cut off":           {first + "\n" + second[:len(second)/2], "line 2 of the archive is cut off"},
		"cut off at a name": {first + "\n" + second[:len(second)-2], "line 2 of the archive is cut off"},
		"garbage":           {first + "\n" + strings.Replace(second, `,"topic"`, `!"topic"`, 1), "line 2 of the archive is not JSON, from byte"},
		"two in a line":     {strings.TrimSuffix(second, "\n") + second, "line 1 of the archive is not JSON, from byte"},
		"empty line":        {first + "\n\n" + second, "line 2 of the archive is cut off"},
		"foreign":           {`{"name":"private"}`, "line 1 of the archive is not an exported dead letter"},
		"list":              {"[" + first + "]", "line 1 of the archive is not a JSON object"},
		"table":             {"PAR1...", "is the archive of another format?"},
		"type":              {strings.Replace(first, `"offset":0`, `"offset":"private"`, 1), "line 1 of the archive has a field offset of another type"},
		"time":              {strings.Replace(first, `"timestamp":"2026`, `"timestamp":"private`, 1), "RFC 3339"},
		"another ID":        {strings.Replace(first, `"offset":0`, `"offset":7`, 1), "does not fit the others"},
		"negative":          {strings.Replace(first, `"attempts":2`, `"attempts":-2`, 1), "negative"},
		"base64":            {strings.Replace(first, `"value_bytes":"AAAA`, `"value_bytes":"private!`, 1), "not base64"},
		"bytes missing":     {strings.Replace(first, `"value_bytes":"AAAA`, `"value_bytes":null,"x":"AAAA`, 1), "value_bytes are not as many"},
		"headers missing":   {strings.Replace(first, `"headers":`, `"x":`, 1), "headers is missing"},
		"headers wrong":     {strings.Replace(first, `"headers":[`, `"headers":[7,`, 1), "headers are no list"},
		"edited":            {strings.Replace(first, `"value":"2"`, `"value":"3"`, 1), "was edited"},
		"masked":            {strings.Replace(first, `"masked":false`, `"masked":true`, 1), "--reveal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(t, "-", "", strings.NewReader(c.text))
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "private")
			require.LessOrEqual(t, len(got), 1)
		})
	}
}

// TestLinesMayBePicked by another program, which writes them in a form of its own.
func TestLinesMayBePicked(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(write(t, archive.JSONLines, true, letters()...))
	require.NoError(t, err)
	var picked bytes.Buffer
	enc := json.NewEncoder(&picked)
	enc.SetEscapeHTML(false)
	for i, line := range bytes.Split(bytes.TrimSpace(raw), []byte("\n")) {
		fields := make(map[string]any)
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&fields))
		fields["value"] = nil
		if i%2 == 0 {
			require.NoError(t, enc.Encode(fields))
		}
	}
	got, err := read(t, "-", "", &picked)
	require.NoError(t, err)
	require.Equal(t, []deadletter.Letter{letters()[0], letters()[2], letters()[4]}, got)
}

// TestDamagedTablesAreTold: wherever a byte is another, the letters are the same, or there is an error.
func TestDamagedTablesAreTold(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile(write(t, archive.Parquet, true, letter(0), letter(1), letter(2)))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "damaged.parquet")
	for _, length := range []int{0, 3, 12, len(whole) / 2, len(whole) - 1} {
		require.NoError(t, os.WriteFile(path, whole[:length], 0o600))
		_, err := read(t, path, "", nil)
		require.ErrorContains(t, err, "no whole Parquet file")
	}
	endless := bytes.Clone(whole)
	copy(endless[len(endless)-8:], "\xff\xff\xff\x7f") // the length of the footer, for which there is room to make
	require.NoError(t, os.WriteFile(path, endless, 0o600))
	_, err = read(t, path, "", nil)
	require.ErrorContains(t, err, "cut off, or of another format")
	for at := 0; at < len(whole); at += 47 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x81
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		if got, err := read(t, path, "", nil); err == nil {
			require.Equal(t, []deadletter.Letter{letter(0), letter(1), letter(2)}, got, at)
		}
	}
	type foreign struct {
		ID   string `parquet:"id"`
		Name string `parquet:"name"`
	}
	require.NoError(t, parquet.WriteFile(path, []foreign{{"x", "private"}}))
	_, err = read(t, path, "", nil)
	require.EqualError(t, err, "the archive is not an export of dead letters: it has no column state, or one of another type")
}

func TestNamesTellTheFormat(t *testing.T) {
	t.Parallel()
	_, err := archive.Create("letters.csv", "", nil, true)
	require.ErrorContains(t, err, "let it end in .jsonl or .parquet")
	path := filepath.Join(t.TempDir(), "letters")
	_, err = archive.Create(path, "csv", nil, true)
	require.ErrorContains(t, err, "jsonl or parquet")
	_, err = archive.Open(path, archive.JSONLines, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, files)
}

// TestAnArchiveIsWholeOrNotThere: one that is given up leaves what was there.
func TestAnArchiveIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	eachFormat(t, func(t *testing.T, format string) {
		path := write(t, format, true, letter(0))
		w, err := archive.Create(path, "", nil, true)
		require.NoError(t, err)
		require.NoError(t, w.Write(record(letter(1))))
		w.Abort()
		got, err := read(t, path, "", nil)
		require.NoError(t, err)
		require.Equal(t, []deadletter.Letter{letter(0)}, got)
		files, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, files, 1)
	})
}

// TestManyLettersStream: memory does not grow with them.
//
//nolint:paralleltest // memory is the whole process's
func TestManyLettersStream(t *testing.T) {
	const many, size = 240, 128 << 10
	for _, format := range []string{archive.JSONLines, archive.Parquet} {
		path := filepath.Join(t.TempDir(), "letters."+format)
		w, err := archive.Create(path, "", nil, true)
		require.NoError(t, err)
		heap := uint64(0)
		l := letter(0)
		l.Value = make([]byte, size)
		random := rand.NewChaCha8([32]byte{})
		for i := range many {
			l.Offset = int64(i)
			_, _ = random.Read(l.Value) // what cannot be compressed
			require.NoError(t, w.Write(record(l)))
			heap = max(heap, every(i))
		}
		require.NoError(t, w.Close())
		r, err := archive.Open(path, "", nil)
		require.NoError(t, err)
		for i := range many {
			got, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, int64(i), got.Offset)
			heap = max(heap, every(i))
		}
		_, err = r.Next()
		require.ErrorIs(t, err, io.EOF)
		r.Close()
		t.Logf("%s: %d MB of %d MB", format, heap>>20, many*size>>20)
		require.Less(t, heap, uint64(32<<20))
	}
}

// every some letters it measures what is on the heap.
func every(i int) uint64 {
	if i%20 != 0 {
		return 0
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func FuzzReadLines(f *testing.F) {
	raw, err := os.ReadFile(write(f, archive.JSONLines, true, letters()[:4]...))
	require.NoError(f, err)
	f.Add(string(raw))
	f.Add(`{"id":"t/0/0","topic":"t","reason":"x","headers":[{}],"value_size":-1}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, _ := read(t, "-", "", strings.NewReader(text))
		again, err := read(t, write(t, archive.JSONLines, true, got...), "", nil)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func FuzzReadTable(f *testing.F) {
	raw, err := os.ReadFile(write(f, archive.Parquet, true, letters()[:4]...))
	require.NoError(f, err)
	f.Add(raw)
	path := filepath.Join(f.TempDir(), "fuzzed.parquet")
	f.Fuzz(func(t *testing.T, raw []byte) {
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		_, _ = read(t, path, "", nil)
	})
}

func BenchmarkWrite(b *testing.B) {
	for _, format := range []string{archive.JSONLines, archive.Parquet} {
		b.Run(format, func(b *testing.B) {
			w, err := archive.Create("-", format, io.Discard, true)
			require.NoError(b, err)
			for b.Loop() {
				require.NoError(b, w.Write(record(letter(0))))
			}
			require.NoError(b, w.Close())
		})
	}
}
