package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

func TestReplay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	text, err := b.run(t, "replay", "--rate=0.5")
	require.NoError(t, err)
	require.Equal(t, "would replay to revenue.people.v1: corrupt_value=1 unknown_schema=1 validation=1\n"+
		"dry run: would replay 3 and skip 0, in about 6s at 0.5 a second; nothing was written, --yes --reason=TEXT acts\n", text)
	text, err = b.run(t, "replay", "--json")
	require.NoError(t, err)
	require.JSONEq(t, `{"dry_run":true,"action":"replay","done":3,"parked":0,"skipped":[],
		"reasons":{"revenue.people.v1":{"corrupt_value":1,"unknown_schema":1,"validation":1}}}`, text)
	require.Empty(t, b.replayed(t))
	require.Empty(t, pipelinetest.ReadAll(t, b.cluster, schemas.DLQDecisionsTopic))

	_, err = b.run(t, "replay", "--yes")
	require.ErrorContains(t, err, "--reason is required with --yes")
	text, err = b.run(t, "replay", "--yes", "--reason=registered", "--class="+wire.ReasonUnknownSchema)
	require.NoError(t, err)
	require.Contains(t, text, "replayed to revenue.people.v1: unknown_schema=1\n")
	require.Regexp(t, `replayed=1 parked=0 skipped=0 failed=0 run=[0-9a-f-]{36}\n$`, text)
	text, err = b.run(t, "replay", "--yes", "--reason=again", id(1).String(), id(2).String(), "--json")
	require.ErrorContains(t, err, "1 of 2 selected letters")
	var result outcome
	require.NoError(t, json.Unmarshal([]byte(text), &result))
	require.Equal(t, []setback{{"already replayed", 1, id(2)}}, result.Skipped)
	require.Equal(t, []any{1, deadletter.Done}, []any{result.Done, result.Status})

	text, err = b.run(t, "list", "--all")
	require.NoError(t, err)
	require.Regexp(t, `revenue\.people\.v1/0/2 .* replayed `, text)
	text, err = b.run(t, "show", id(2).String())
	require.NoError(t, err)
	require.Regexp(t, `replayed by ops from here: registered`, text)
	require.Equal(t, []string{"salesloft:3", "salesloft:2"}, b.replayed(t))
}

// TestReplayedTooOftenIsParked, which the plan tells.
func TestReplayedTooOftenIsParked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	often := b.person(t, 4, version, 0, wire.ReasonValidation)
	often.Record.Headers = append(often.Record.Headers, kgo.RecordHeader{Key: "dlq-replays", Value: []byte("2")})
	b.fail(t, "people-consumer", often)
	text, err := b.run(t, "replay", "--max-replays=2")
	require.NoError(t, err)
	require.Contains(t, text, "would park 1, replayed 2 times or more already\n")
	require.Contains(t, text, "would replay 3, park 1 and skip 0;")
	text, err = b.run(t, "replay", "--max-replays=2", "--yes", "--reason=mended")
	require.NoError(t, err)
	require.Contains(t, text, "replayed=3 parked=1 skipped=0 failed=0")
}

func TestParkUnparkAndDiscard(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	text, err := b.run(t, "park", "--class="+wire.ReasonCorrupt)
	require.NoError(t, err)
	require.Equal(t, "would park letters of revenue.people.v1: corrupt_value=1\ndry run: would park 1 and skip 0; nothing was written, --yes --reason=TEXT acts\n", text)
	text, err = b.run(t, "park", "--class="+wire.ReasonCorrupt, "--yes", "--reason=ask them")
	require.NoError(t, err)
	require.Contains(t, text, "parked=1 skipped=0 failed=0")
	text, err = b.run(t, "replay")
	require.NoError(t, err)
	require.Contains(t, text, "would replay 2 and skip 0")
	text, err = b.run(t, "unpark", "--yes", "--reason=they know")
	require.NoError(t, err)
	require.Contains(t, text, "unparked=1 ")
	text, err = b.run(t, "discard", id(1).String(), "--yes", "--reason=test data")
	require.NoError(t, err)
	require.Contains(t, text, "discarded=1 ")
	text, err = b.run(t, "replay", id(1).String())
	require.NoError(t, err)
	require.Contains(t, text, "would skip 1, such as revenue.people.v1/0/1: already discarded\n")
	text, err = b.run(t, "list", "--state=discarded")
	require.NoError(t, err)
	require.Contains(t, text, "1 discarded: corrupt_value=1")
	require.Empty(t, b.replayed(t))

	text, err = b.run(t, "audit")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	require.Len(t, lines, 7) // a head, three decisions and three runs
	require.Regexp(t, `^AT +BY +WHAT +LETTER OR RUN +WHY +NOTE$`, lines[0])
	require.Regexp(t, `ops +discard run .* done: done 1, parked 0`, lines[1])
	require.Contains(t, text, "they know")
	text, err = b.run(t, "audit", "--by=nobody")
	require.NoError(t, err)
	require.Equal(t, "nothing was decided\n", text)
	text, err = b.run(t, "runs")
	require.NoError(t, err)
	require.Regexp(t, `(?s)RUN +STARTED +WHAT +STATUS.*discard +done +1 .*unpark +done +1 .*park +done +1 `, text)
}

// TestRepair: what failed validation gets through, as the same event.
func TestRepair(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	path := filepath.Join(t.TempDir(), "patch.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"updated_at":"2026-02-03T04:05:06.789012Z"}`), 0o600))
	text, err := b.run(t, "repair", "--patch="+path)
	require.NoError(t, err)
	require.Contains(t, text, "would skip 1, such as revenue.people.v1/0/1: cannot be decoded and so not be patched: corrupt_value")
	require.Contains(t, text, "dry run: would repair 2 and skip 1;")
	text, err = b.run(t, "repair", "--patch="+path, "--yes", "--reason=mixed-up dates")
	require.ErrorContains(t, err, "1 of 3")
	require.Contains(t, text, "repaired=2 parked=0 skipped=1 failed=0")

	registry, err := wire.NewRegistry(b.registry)
	require.NoError(t, err)
	replayed := pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic)
	require.Len(t, replayed, 2)
	for _, rec := range replayed {
		var p people.Person
		require.NoError(t, wire.NewDecoder(people.Schema, registry).Decode(t.Context(), rec.Value, &p))
		require.NoError(t, event.Check(&p, rec.Key))
		require.Contains(t, rec.Headers, kgo.RecordHeader{Key: event.HeaderID, Value: []byte(p.EventID.String())})
	}
	text, err = b.run(t, "audit", "--json", "--limit=1")
	require.NoError(t, err)
	require.Contains(t, text, `"patch":{"updated_at":"2026-02-03T04:05:06.789012Z"}`)

	// A header alone can be set whatever the value is, from a patch on standard input none.
	text, err = b.run(t, "repair", id(1).String(), "--set-header=traceparent=00-1-1-00", "--yes", "--reason=trace")
	require.NoError(t, err)
	require.Contains(t, text, "repaired=1 ")
	require.Contains(t, pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic)[2].Headers, kgo.RecordHeader{Key: "traceparent", Value: []byte("00-1-1-00")})
	_, err = b.in(t, &shell{stdin: strings.NewReader(`{"updated_at":`)}, "repair", "--patch=-")
	require.ErrorContains(t, err, "the patch is not JSON: it ends too early")
}

// TestTheEditor gets the value with personal data masked, and what it leaves masked stays.
func TestTheEditor(t *testing.T) {
	b := newBench(t)
	copied := filepath.Join(t.TempDir(), "seen")
	t.Setenv("VISUAL", `f() { cp "$1" `+copied+` && ls -l "$1" >> `+copied+` && sed -i 's/"updated_at": .*/"updated_at": "2026-02-03T04:05:06.789012Z",/' "$1"; }; f`)
	text, err := b.run(t, "repair", "--editor", id(0).String())
	require.NoError(t, err)
	require.Contains(t, text, `patch: {"updated_at":"2026-02-03T04:05:06.789012Z"}`+"\n")
	require.Contains(t, text, "would repair 1 and skip 0;")
	seen, err := os.ReadFile(copied)
	require.NoError(t, err)
	require.Contains(t, string(seen), `"first_name": "[masked]"`)
	require.Contains(t, string(seen), "-rw-------")
	path := strings.Fields(string(seen))
	require.NoFileExists(t, path[len(path)-1])

	_, err = b.run(t, "repair", "--editor", id(0).String(), "--yes", "--reason=mixed-up dates")
	require.NoError(t, err)
	registry, err := wire.NewRegistry(b.registry)
	require.NoError(t, err)
	var p people.Person
	require.NoError(t, wire.NewDecoder(people.Schema, registry).Decode(t.Context(), pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic)[0].Value, &p))
	require.Equal(t, "Zebedee", *p.FirstName)

	t.Setenv("VISUAL", "true")
	text, err = b.run(t, "repair", "--editor", id(2).String(), "--yes", "--reason=none")
	require.NoError(t, err)
	require.Equal(t, "nothing was changed, and nothing was done\n", text)
	t.Setenv("VISUAL", "false")
	_, err = b.run(t, "repair", "--editor", id(2).String())
	require.ErrorContains(t, err, "--editor: running false: exit status 1")
	t.Setenv("VISUAL", `printf '{"a":' >`)
	_, err = b.run(t, "repair", "--editor", id(2).String())
	require.ErrorContains(t, err, "not a JSON object")
	t.Setenv("VISUAL", "")
	t.Setenv("EDITOR", "")
	_, err = b.run(t, "repair", "--editor", id(2).String())
	require.ErrorContains(t, err, "set VISUAL or EDITOR")
	require.Len(t, b.replayed(t), 1)
}

// TestSpoiledJSONCanBeEditedAgain, so that an operator loses nothing by a comma.
func TestSpoiledJSONCanBeEditedAgain(t *testing.T) {
	b := newBench(t)
	mark := filepath.Join(t.TempDir(), "once")
	t.Setenv("VISUAL", `f() { if [ -e `+mark+` ]; then sed -i 's/^x//' "$1"; else touch `+mark+`; sed -i 's/^{/x{/' "$1"; fi; }; f`)
	answers, err := os.Create(filepath.Join(t.TempDir(), "answers")) // a file, as the terminal is: the editor does not read it to its end
	require.NoError(t, err)
	t.Cleanup(func() { _ = answers.Close() })
	_, err = answers.WriteString("\n")
	require.NoError(t, err)
	_, err = answers.Seek(0, io.SeekStart)
	require.NoError(t, err)
	text, err := b.in(t, &shell{stdin: answers, terminal: true}, "repair", "--editor", id(2).String())
	require.NoError(t, err)
	require.Equal(t, "nothing was changed, and nothing was done\n", text)
}

func TestWrongFlagsDoNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bad := filepath.Join(t.TempDir(), "patch.json")
	require.NoError(t, os.WriteFile(bad, []byte(`{"a":`), 0o600))
	for line, want := range map[string]string{
		"replay --limit=-1":                                  "--limit must not be negative",
		"replay --rate=-1 --concurrency=-1":                  "--concurrency must not be negative",
		"replay --max-replays=0":                             "--max-replays",
		"replay --stop-at-failed-share=2":                    "--stop-at-failed-share",
		"replay --since=1h --until=2h":                       "--since must be before --until",
		"replay --partition=-1":                              "--partition",
		"replay --offsets=9-5":                               "ends before it begins",
		"replay --header=x":                                  "NAME=VALUE",
		"replay --state=gone":                                "--state",
		"replay --patch=x":                                   "unknown flag",
		"replay --topic=revenue.x":                           "there is no revenue.x.dlq; dead letters come from revenue.people.v1",
		"replay revenue.people.v1/0/0 revenue.people.v1/0/9": "no dead letter there",
		"replay nonsense":                                    "is not the ID of a dead letter",
		"replay --yes --dry-run":                             "can't be used together",
		"repair":                                             "a repair needs --patch, --set-header or --editor",
		"repair --patch=" + bad:                              "the patch is not JSON",
		"repair --patch=" + bad + "x":                        "no such file",
		"repair --set-header=dlq-reason=x":                   "cannot be set",
		"repair --editor":                                    "give its ID",
		"drain --wait=-1s":                                   "--wait",
		"resume --reason=x":                                  "no run was interrupted",
		"resume":                                             "--reason is required",
		"resume 1234 --reason=x":                             "1234: there is no such run",
		"watch --count=-1":                                   "--count",
		"audit --limit=-1":                                   "--limit",
		"stats --reveal --reason=x":                          "there is no --where",
		"list --reason=validation":                           "--class",
	} {
		args := strings.Fields(line)
		if strings.HasPrefix(line, "re") && args[0] != "resume" && !strings.Contains(line, "dry-run") {
			args = append(args, "--yes", "--reason=x")
		}
		_, err := b.run(t, args...)
		require.ErrorContains(t, err, want, line)
	}
	require.Empty(t, b.replayed(t))
	require.Empty(t, pipelinetest.ReadAll(t, b.cluster, schemas.DLQDecisionsTopic))
}

// TestAWrongExpressionShowsItsPlace, before anything is read.
func TestAWrongExpressionShowsItsPlace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	sh := new(shell)
	text, err := b.in(t, sh, "replay", "--where=value.a ==", "--yes", "--reason=x")
	require.ErrorContains(t, err, "--where: ")
	require.Contains(t, sh.stderr.String(), "^")
	require.Empty(t, text)
	require.Empty(t, b.replayed(t))
}

// TestInterruptedReplayIsResumed: Ctrl-C finishes the transaction in hand and says how to go on; a killed process cannot,
// and is taken over from. Each letter is replayed once.
func TestInterruptedReplayIsResumed(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"SIGINT": syscall.SIGINT, "SIGKILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.many(t, 60)
			p := b.start(t, "replay", "--class="+wire.ReasonUnknownSchema, "--rate=10", "--yes", "--reason=mended")
			require.Eventually(t, func() bool { return len(b.replayed(t)) >= 10 }, 30*time.Second, 20*time.Millisecond)
			require.NoError(t, p.Process.Signal(signal))
			code := p.code()
			done := len(b.replayed(t))
			require.Less(t, done, 61)
			args := []string{"resume", "--reason=going on"}
			if signal == syscall.SIGINT {
				require.Equal(t, 1, code)
				require.Regexp(t, `interrupted, nothing is half done: dlq-replayer resume [0-9a-f-]{36} --reason=TEXT goes on\n$`, p.stderr.String())
			} else {
				_, err := b.run(t, args...)
				require.ErrorAs(t, err, new(*desk.BusyError))
				require.ErrorContains(t, err, "--take-over")
				args = append(args, "--take-over")
			}
			text, err := b.run(t, args...)
			require.NoError(t, err)
			require.Contains(t, text, "replayed=")
			keys := map[string]int{}
			for _, key := range b.replayed(t) {
				keys[key]++
			}
			require.Len(t, keys, 61)
			for key, times := range keys {
				require.Equal(t, 1, times, key)
			}
			text, err = b.run(t, "runs", "--json")
			require.NoError(t, err)
			var run deadletter.Run
			require.NoError(t, json.Unmarshal([]byte(text), &run))
			require.Equal(t, []any{deadletter.Done, 61}, []any{run.Status, run.Done})
		})
	}
}

func TestDrainTellsWhatIsLeftByItsExitCode(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	text, err := b.run(t, "drain")
	require.NoError(t, err)
	require.Contains(t, text, "dry run: would replay 3")
	drain := func(code int, args ...string) drained {
		p := b.start(t, append([]string{"drain", "--yes", "--reason=nightly", "--json", "--wait=1s"}, args...)...)
		require.Equal(t, code, p.code(), p.stderr.String())
		var result drained
		require.NoError(t, json.Unmarshal([]byte(p.stdout.String()), &result), p.stdout.String())
		return result
	}
	result := drain(0, "--class="+wire.ReasonUnknownSchema)
	require.Equal(t, []any{1, left{}}, []any{result.Replayed, result.Left})
	require.Len(t, result.Runs, 1)

	_, err = b.run(t, "park", id(1).String(), "--yes", "--reason=later")
	require.NoError(t, err)
	result = drain(3)
	require.Equal(t, []any{1, left{Parked: 1}}, []any{result.Replayed, result.Left})
	rec := &kgo.Record{Topic: schemas.PeopleTopic, Partition: -1, Offset: -1, Timestamp: version, Key: []byte("salesloft:7"), Value: []byte(`{"id":7}`)}
	b.fail(t, "", consume.Poison{Record: rec, Stage: deadletter.StageProduce, Reason: "malformed", Message: "a field is wrong", Failed: version})
	result = drain(3)
	require.Equal(t, left{Parked: 1, Unreplayable: 1}, result.Left)
	require.ErrorContains(t, left{Open: 2, Parked: 1}.verdict(), "2 letters are open still")
	require.Equal(t, exitOpen, left{Open: 2, Parked: 1}.verdict().(*daemon.ExitError).Code) //nolint:errorlint // it is not wrapped
	p := b.start(t, "drain", "--yes", "--json")
	require.Equal(t, 1, p.code())
}

func TestWatch(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	text, err := b.run(t, "watch", "--count=1")
	require.NoError(t, err)
	require.Regexp(t, `^20\S+Z discarded=0 open=3 parked=0 replayed=0 undecipherable=0\n$`, text)
	text, err = b.in(t, &shell{width: 100}, "watch", "--count=1")
	require.NoError(t, err)
	require.Contains(t, text, home)
	require.Regexp(t, `(?m)^in all +3 +0 +0 +0 +2h$`, text)

	p := b.start(t, "watch", "--json")
	seen := func(want string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(p.stdout.String(), want) }, 30*time.Second, 20*time.Millisecond)
	}
	seen(`"open":3`)
	_, err = b.run(t, "replay", id(2).String(), "--yes", "--reason=mended")
	require.NoError(t, err)
	seen(`"open":2`)
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	require.Zero(t, p.code(), p.stderr.String())
	require.Equal(t, 2, strings.Count(p.stdout.String(), "\n"), "a line is a change")
}
