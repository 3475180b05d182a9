package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

func TestList(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	text, err := b.run(t, "list")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	require.Len(t, lines, 5)
	require.Regexp(t, `^ID +AGE +REASON +REPLAYS +KEY +MESSAGE$`, lines[0])
	require.Regexp(t, `^revenue\.people\.v1/0/0 +2h +validation +0 +salesloft:1 +a field is wrong$`, lines[1])
	require.Equal(t, strings.Index(lines[0], "KEY"), strings.Index(lines[1], "salesloft"))
	require.Equal(t, "3 open: corrupt_value=1 unknown_schema=1 validation=1", lines[4])

	text, err = b.in(t, &shell{width: 80}, "list", "--all", "--limit=2")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^ID +AGE +REASON +STATE +KEY$`, text)
	for line := range strings.Lines(text) {
		require.LessOrEqual(t, runewidth.StringWidth(strings.TrimSuffix(line, "\n")), 80, line)
	}
	require.Contains(t, text, "salesloft:1")
	require.Contains(t, text, "2 open: corrupt_value=1 validation=1 (as many as --limit allows)\n")

	text, err = b.run(t, "list", "--json", "--class="+wire.ReasonCorrupt)
	require.NoError(t, err)
	var got row
	require.NoError(t, json.Unmarshal([]byte(text), &got))
	require.Equal(t, []any{id(1), "open", "salesloft:2", wire.ReasonCorrupt, "people-consumer", b.schema},
		[]any{got.ID, got.State, got.Key, got.Reason, got.Group, got.Schema})
	require.NotContains(t, text, "Zebedee")
}

// TestALineFitsTheTerminal and is one line, whatever a letter says of itself.
func TestALineFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for _, width := range []int{40, 80, 119, 120, 200} {
		var out strings.Builder
		show := new(listCommand).table(&out, width, true)
		require.NoError(t, show(desk.Entry{ID: id(1 << 40), State: desk.Undecipherable, Letter: deadletter.Letter{
			Key: []byte("\x1b[2J\n" + strings.Repeat("李", 100)), Reason: "a\rb", Message: strings.Repeat("wrong ", 50), LastFailure: version,
		}}))
		require.Equal(t, 2, strings.Count(out.String(), "\n"))
		for line := range strings.Lines(out.String()) {
			require.LessOrEqual(t, runewidth.StringWidth(strings.TrimSuffix(line, "\n")), width)
		}
		require.NotContains(t, out.String(), "\x1b")
		require.NotContains(t, out.String(), "\r")
	}
}

// TestFilters: each alone, and several together, mean what the list then shows.
func TestFilters(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	late := b.person(t, 4, version, 0, wire.ReasonValidation)
	late.Failed = time.Now()
	b.fail(t, "other-consumer", late)
	event := func(offset int64) string {
		text, err := b.run(t, "list", "--json", id(offset).String())
		require.NoError(t, err)
		var got row
		require.NoError(t, json.Unmarshal([]byte(text), &got))
		return got.EventID
	}
	for filter, want := range map[string][]int64{
		"":                                {0, 1, 2, 3},
		"--topic=revenue.people.v1":       {0, 1, 2, 3},
		"--topic=revenue.people.v1.dlq":   {0, 1, 2, 3},
		"--class=validation":              {0, 3},
		"--key=salesloft:2":               {1},
		"--key=salesloft:2 --key=x":       {1},
		"--event-id=" + event(2):          {2},
		fmt.Sprint("--schema=", b.schema): {0, 1, 2, 3},
		"--schema=999":                    {},
		"--group=other-consumer":          {3},
		"--since=1h":                      {3},
		"--until=1h":                      {0, 1, 2},
		"--partition=0":                   {0, 1, 2, 3},
		"--partition=1":                   {},
		"--offsets=1-2":                   {1, 2},
		"--offsets=2-":                    {2, 3},
		"--header=ce_subject=salesloft:3": {2},
		"--replay-id=none":                {},
		"--limit=1":                       {0},
		"revenue.people.v1/0/2 revenue.people.v1.dlq/0/1": {1, 2},
		"revenue.people.v1/0/2 --class=validation":        {},
		"--class=validation --since=1h":                   {3},
		"--where=attempts==1&&reason=='validation'":       {0, 3},
		"--where=value.person_id==3":                      {2},
		"--where=value.first_name=='Zebedee'":             {},
	} {
		text, err := b.run(t, append([]string{"list", "--json"}, strings.Fields(filter)...)...)
		require.NoError(t, err, filter)
		found := []int64{}
		for dec := json.NewDecoder(strings.NewReader(text)); dec.More(); {
			var got row
			require.NoError(t, dec.Decode(&got))
			found = append(found, got.ID.Offset)
		}
		require.Equal(t, want, found, filter)
	}
}

// TestAnExpressionThatDoesNotFitALetter does not mean it, and the operator is told.
func TestAnExpressionThatDoesNotFitALetter(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	sh := new(shell)
	text, err := b.in(t, sh, "list", "--where=value.person_id > 'a'")
	require.NoError(t, err)
	require.Equal(t, "0 letters\n", text)
	require.Contains(t, sh.stderr.String(), "--where cannot be evaluated on 2 letters, which therefore do not match: ")
	require.Contains(t, sh.stderr.String(), "^")
}

// TestAnExpressionThatSeesPersonalDataIsAudited, before it is evaluated.
func TestAnExpressionThatSeesPersonalDataIsAudited(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	where := `--where=value?.first_name=="Zebedee"`
	_, err := b.run(t, "list", where, "--reveal")
	require.ErrorContains(t, err, "--reason is required with --reveal")
	_, err = b.run(t, "list", where, "--reason=curious")
	require.ErrorContains(t, err, "--class")
	text, err := b.run(t, "list", where, "--reveal", "--reason=ticket 7")
	require.NoError(t, err)
	require.Contains(t, text, "2 open")
	text, err = b.run(t, "replay", where, "--reveal", "--reason=ticket 8")
	require.NoError(t, err)
	require.Contains(t, text, "would replay 2")

	text, err = b.run(t, "audit", "--json")
	require.NoError(t, err)
	var entries []entry
	for dec := json.NewDecoder(strings.NewReader(text)); dec.More(); {
		var e entry
		require.NoError(t, dec.Decode(&e))
		entries = append(entries, e)
	}
	require.Len(t, entries, 2)
	require.Equal(t, []string{"ops", "here", "ticket 8", "ticket 7"}, []string{entries[0].By, entries[0].From, entries[0].Why, entries[1].Why})
	require.Contains(t, string(entries[1].Detail), "first_name")
}

// TestNothingIsRevealedThatIsNotWrittenDown, to whoever may not write it down.
func TestNothingIsRevealedThatIsNotWrittenDown(t *testing.T) {
	t.Parallel()
	pipelinetest.NeedKfake(t)
	b := newBench(t)
	b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: schemas.DLQDecisionsTopic, Err: kerr.TopicAuthorizationFailed, Count: -1})
	where := `--where=value?.first_name=="Zebedee"`
	for _, args := range [][]string{
		{"show", id(0).String()}, {"list", where}, {"stats", where}, {"replay", where}, {"export", "--out=-"}, {"repair", "--editor", id(0).String()},
	} {
		text, err := b.run(t, append(args, "--reveal", "--reason=ticket 7")...)
		require.ErrorContains(t, err, "WRITE and DESCRIBE on topic "+schemas.DLQDecisionsTopic, args)
		require.Empty(t, text, args)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	text, err := b.run(t, "show", id(0).String())
	require.NoError(t, err)
	for _, want := range []string{"validation", "a field is wrong", "salesloft:1", "ce_specversion", `"first_name": "[masked]"`, `"updated_at": "2026-02-03T04:05:07.789012Z"`} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "Zebedee")
	require.NotContains(t, text, "Decisions")
	_, err = b.run(t, "show", id(0).String(), "--reveal")
	require.ErrorContains(t, err, "--reason")
	text, err = b.run(t, "show", id(0).String(), "--reveal", "--reason=ticket 7")
	require.NoError(t, err)
	require.Contains(t, text, `"first_name": "Zebedee"`)
	require.Regexp(t, `revealed by ops from here: ticket 7`, text)

	// What cannot be decoded may hold a name at any byte.
	text, err = b.run(t, "show", id(1).String())
	require.NoError(t, err)
	require.Contains(t, text, "cannot be decoded, from byte 142 on: corrupt_value")
	require.Contains(t, text, fmt.Sprintf("00000000  % x ", binary.BigEndian.AppendUint32([]byte{0}, uint32(b.schema))))
	require.Contains(t, text, "--reveal --reason=TEXT shows them")
	require.NotContains(t, text, "Zeb")
	text, err = b.run(t, "show", id(1).String(), "--json", "--reveal", "--reason=ticket 8")
	require.NoError(t, err)
	var shown detail
	require.NoError(t, json.Unmarshal([]byte(text), &shown))
	require.Contains(t, shown.Hex, fmt.Sprintf("%x", "Zebedee"))
	require.NotNil(t, shown.UndecodableAt)
	require.LessOrEqual(t, *shown.UndecodableAt, shown.Bytes)
	require.Equal(t, "ticket 8", shown.Decisions[0].Why)

	_, err = b.run(t, "show", id(9).String())
	require.ErrorIs(t, err, desk.ErrUnknownLetter)
	_, err = b.with(t.Context(), t, new(shell), "show", id(0).String(), "--kafka-brokers="+strings.Join(b.cluster.ListenAddrs(), ","),
		"--schema-registry-url=") // though the environment may have one
	require.ErrorContains(t, err, "SCHEMA_REGISTRY_URL is required")
	_, err = b.with(t.Context(), t, new(shell), "show", id(0).String(), "--kafka-brokers="+strings.Join(b.cluster.ListenAddrs(), ","), "--schema-registry-url=http://127.0.0.1:1")
	require.ErrorContains(t, err, "SCHEMA_REGISTRY_URL")
}

// TestTheFailingByteIsMarked right under it.
func TestTheFailingByteIsMarked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bad := b.person(t, 8, version, 0, wire.ReasonCorrupt)
	bad.Record.Value = append(bad.Record.Value[:25:25], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	b.fail(t, "people-consumer", bad)
	text, err := b.run(t, "show", id(3).String(), "--reveal", "--reason=ticket 7")
	require.NoError(t, err)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if mark := strings.Index(line, "^^ byte "); mark >= 0 {
			var at int
			_, err := fmt.Sscanf(line[mark:], "^^ byte %d", &at)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%02x", bad.Record.Value[at]), lines[i-1][mark:mark+2])
			require.Equal(t, fmt.Sprintf("%08x", at/16*16), lines[i-1][:8])
			return
		}
	}
	require.Fail(t, "no byte is marked", text)
}

// TestWhatTheSourceSent is shown without what it says, and not replayed; the others are.
func TestWhatTheSourceSent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var letters []consume.Poison
	for _, raw := range []string{`{"id":7,"first_name":{"is":["Zebedee"]},"starred":true,"title":null}`, `{"first_name":"Zebedee`} {
		rec := &kgo.Record{Topic: schemas.PeopleTopic, Partition: -1, Offset: -1, Timestamp: version, Key: []byte("salesloft:7"), Value: []byte(raw)}
		letters = append(letters, consume.Poison{Record: rec, Stage: deadletter.StageProduce, Reason: "malformed", Message: "a field is wrong", Failed: version})
	}
	b.fail(t, "", letters...)

	text, err := b.run(t, "list", "--class=malformed")
	require.NoError(t, err)
	require.Contains(t, text, "2 open: malformed=2")
	text, err = b.run(t, "show", id(3).String())
	require.NoError(t, err)
	for _, want := range []string{"was never an event", "Producer", "Meant for", "as the source sent it", `"id": "[masked]"`, `"starred": true`, `"title": null`} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "Zebedee")
	text, err = b.run(t, "show", id(3).String(), "--reveal", "--reason=ticket 7")
	require.NoError(t, err)
	require.Contains(t, text, "Zebedee")
	text, err = b.run(t, "show", id(4).String(), "--json")
	require.NoError(t, err)
	require.Contains(t, text, `"undecodable":"corrupt_value: it is not JSON"`)
	require.NotContains(t, text, `"hex"`)

	text, err = b.run(t, "replay", "--yes", "--reason=mended")
	require.ErrorContains(t, err, "2 of 5")
	require.Contains(t, text, "replayed=3 parked=0 skipped=2 failed=0 run=")
	require.Contains(t, text, "never an event")
}

func TestStats(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.run(t, "replay", "--yes", "--reason=mended", id(2).String())
	require.NoError(t, err)
	_, err = b.run(t, "park", "--yes", "--reason=later", id(1).String())
	require.NoError(t, err)

	text, err := b.run(t, "stats", "--json")
	require.NoError(t, err)
	var got stats
	require.NoError(t, json.Unmarshal([]byte(text), &got))
	require.Equal(t, []int{1, 1, 1, 0, 0}, []int{got.Open, got.Replayed, got.Parked, got.Discarded, got.Undecipherable})
	require.Equal(t, 1, got.Topics[schemas.PeopleTopic][wire.ReasonUnknownSchema].Replayed)
	require.WithinDuration(t, time.Now().Add(-2*time.Hour), got.OldestOpen, time.Minute)
	require.Len(t, got.Histogram, 1)
	require.Equal(t, map[string]int{"validation": 1, "corrupt_value": 1, "unknown_schema": 1}, got.Histogram[0].Counts)
	require.Contains(t, text, `"stopped":[]`)

	text, err = b.in(t, &shell{width: 80}, "stats")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^TOPIC +REASON +OPEN +REPLAYED +PARKED +DISCARDED +OLDEST$`, text)
	require.Regexp(t, `(?m)^revenue\.people\.v1 +corrupt_value +0 +0 +1 +0 +-$`, text)
	require.Regexp(t, `(?m)^in all +1 +1 +1 +0 +2h$`, text)
	require.Regexp(t, `(?m)^20\d\d-\d\d-\d\d \d\d:\d\dZ  3  █+.*░+$`, text)
	for line := range strings.Lines(text) {
		require.LessOrEqual(t, runewidth.StringWidth(strings.TrimSuffix(line, "\n")), 80, line)
	}
	text, err = b.run(t, "stats", "--ascii")
	require.NoError(t, err)
	require.NotRegexp(t, `[^\x00-\x7f]`, text)
	text, err = b.run(t, "stats", "--class=nothing", "--json")
	require.NoError(t, err)
	require.Contains(t, text, `"open":0`)
}

// TestStoppedConsumersAreShown, with what to do, to whoever looks at the counts.
func TestStoppedConsumersAreShown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.stop(t, "people-consumer")
	text, err := b.run(t, "stats")
	require.NoError(t, err)
	require.Regexp(t, `(?s)Stopped consumers\npeople-consumer stopped on revenue\.people\.v1 partition 0 at offset \d+`, text)
	text, err = b.run(t, "stats", "--json")
	require.NoError(t, err)
	var got stats
	require.NoError(t, json.Unmarshal([]byte(text), &got))
	require.Len(t, got.Stopped, 1)
	require.NotEmpty(t, got.Stopped[0].Advice)
}

func TestNoBroker(t *testing.T) {
	t.Parallel()
	b := &bench{}
	_, err := b.with(t.Context(), t, new(shell), "list", "--kafka-brokers=127.0.0.1:1")
	require.ErrorContains(t, err, "KAFKA_BROKERS (--kafka-brokers): reaching 127.0.0.1:1")
}
