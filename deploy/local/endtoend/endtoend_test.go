package endtoend

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/deploy/local/status"
	"github.com/revstream/revstream/deploy/local/tour"
	"github.com/revstream/revstream/pipeline/consume"
)

// TestTour: what `make demo` shows, on less data.
func TestTour(t *testing.T) {
	t.Parallel()
	s := newStack(t, stack.Sources{Seed: 7, People: "700", Users: 6})
	result, err := tour.New(s, t.Output()).Run(t.Context())
	require.NoError(t, err)
	require.Positive(t, result.DuplicatesDropped)
	require.EqualValues(t, 1, result.Replayed)
	require.Contains(t, result.Line(), "demo ok: ")
}

// TestStackSurvivesARestart: everything comes up healthy, goes down without a
// trace, and comes up again with its data.
func TestStackSurvivesARestart(t *testing.T) {
	t.Parallel()
	s := newStack(t, stack.Sources{Seed: 1, People: "50", Users: 2})
	up(t, s)
	all := len(stack.Surroundings) + len(stack.Services)
	require.Len(t, s.Processes(), all)
	cycleEnded(t, s)
	before := settled(t, s, 50)

	again, err := stack.Open(s.Config().Dir) // as another command does
	require.NoError(t, err)
	require.Len(t, again.Processes(), all)
	stopped, err := again.Stop(t.Context())
	require.NoError(t, err)
	require.Len(t, stopped, all)
	// The other command has seen them end; here the system may be about to tell.
	require.Eventually(t, func() bool { return len(s.Processes()) == 0 }, time.Minute, time.Millisecond)

	up(t, s)
	after := settled(t, s, 50)
	require.Equal(t, before.Tables[:2], after.Tables[:2], "nothing was lost, and nothing published anew")
	for _, p := range after.Processes {
		require.Equal(t, "healthy", p.Health, p.Name)
	}
	out, err := s.Run(t.Context(), "", "warehouse", "migrate")
	require.NoError(t, err)
	require.Equal(t, "nothing to apply\n", out)
}

func up(t *testing.T, s *stack.Stack) {
	t.Helper()
	_, err := s.Start(t.Context(), stack.Surroundings...)
	require.NoError(t, err)
	require.NoError(t, s.Prepare(t.Context()))
	_, err = s.Start(t.Context(), stack.Services...)
	require.NoError(t, err)
}

// cycleEnded waits until the forecast producer has exported each of its quarters.
func cycleEnded(t *testing.T, s *stack.Stack) {
	t.Helper()
	const quarters = "5" // the default of CLARI_QUARTERS
	require.Eventually(t, func() bool {
		answer, err := status.Query(t.Context(), s.Config().ClickHouseURL(), "SELECT count() FROM export_runs WHERE entity = 'forecast'")
		require.NoError(t, err)
		return strings.TrimSpace(answer) == quarters
	}, time.Minute, 100*time.Millisecond)
}

// settled waits until so many people are in ClickHouse, and everything else
// that was published.
func settled(t *testing.T, s *stack.Stack, people int64) status.Report {
	t.Helper()
	var report status.Report
	defer func() {
		if t.Failed() {
			_ = report.Print(t.Output())
		}
	}()
	require.Eventually(t, func() bool {
		var err error
		report, err = status.Collect(t.Context(), s)
		require.NoError(t, err)
		var lag int64
		for _, g := range report.Groups {
			lag += g.Lag
		}
		return lag == 0 && report.Tables[0].Rows > 0 && report.Tables[1].Rows == people
	}, time.Minute, 200*time.Millisecond)
	return report
}

// TestKilledConsumersLoseAndDoubleNothing: consumers and the ClickHouse front
// are killed while they work; on Apache Kafka in groups of both protocols.
func TestKilledConsumersLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	protocols := []string{consume.ProtocolClassic}
	if *servers { // the embedded broker keeps the place of a killed member for 45 s
		protocols = append(protocols, consume.ProtocolConsumer)
	}
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			killConsumers(t, newStackWith(t, stack.Config{Sources: stack.Sources{Seed: 3, People: "3000", Users: 30}}, protocol))
		})
	}
}

func killConsumers(t *testing.T, s *stack.Stack) {
	t.Helper()
	_, err := s.Start(t.Context(), stack.Surroundings...)
	require.NoError(t, err)
	require.NoError(t, s.Prepare(t.Context()))
	_, err = s.Start(t.Context(), stack.ForecastConsumer, stack.PeopleConsumer)
	require.NoError(t, err)

	produced := make(chan error, 2)
	for _, producer := range []string{stack.ForecastProducer, stack.PeopleProducer} {
		go func() {
			_, err := s.Run(t.Context(), "", producer, "--once")
			produced <- err
		}()
	}
	for range 3 {
		for _, victim := range []string{stack.ForecastConsumer, stack.ClickHouse, stack.PeopleConsumer} {
			kill(t, s, victim)
			_, err := s.Start(t.Context(), victim)
			require.NoError(t, err)
		}
	}
	require.NoError(t, <-produced)
	require.NoError(t, <-produced)

	report := settled(t, s, 3000)
	for i, table := range report.Tables[:2] {
		require.Equal(t, report.Topics[i].Offsets, table.History, table.Entity)
		require.Equal(t, table.Rows, table.History, table.Entity)
	}
	require.Zero(t, report.Letters.Open, "an outage dead-letters nothing")
}

func kill(t *testing.T, s *stack.Stack, name string) {
	t.Helper()
	for _, p := range s.Processes() {
		if p.Name == name {
			require.NoError(t, syscall.Kill(p.PID, syscall.SIGKILL))
			require.Eventually(t, func() bool { return !p.Alive() }, time.Minute, 10*time.Millisecond)
		}
	}
}

// TestAPortInUseIsNamedWithItsFlag.
func TestAPortInUseIsNamedWithItsFlag(t *testing.T) {
	t.Parallel()
	s := newStack(t, stack.Sources{})
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", s.Config().Addrs.Registry)
	require.NoError(t, err)
	defer taken.Close()
	_, err = s.Start(t.Context(), stack.Registry)
	require.ErrorContains(t, err, taken.Addr().String()+" is in use")
	require.ErrorContains(t, err, "--registry-addr")
}

// TestWrongSettingsEndAtOnceWithTheirName: one line, exit code 1, no stack trace.
func TestWrongSettingsEndAtOnceWithTheirName(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"KAFKA_BROKERS": "127.0.0.1:1", "SCHEMA_REGISTRY_URL": "http://127.0.0.1:1", "CLICKHOUSE_URL": "http://127.0.0.1:1/revenue",
		"CLARI_API_KEY": "k", "CLARI_FORECAST_IDS": "f", "SALESLOFT_API_KEY": "k", "HTTP_ADDR": "127.0.0.1:0",
	}
	for _, c := range []struct{ program, unset, set string }{
		{"forecast-producer", "KAFKA_BROKERS", ""}, {"forecast-producer", "CLARI_API_KEY", ""},
		{"forecast-producer", "CLARI_FORECAST_IDS", ""}, {"forecast-producer", "SCHEMA_REGISTRY_URL", ""},
		{"people-producer", "SALESLOFT_API_KEY", ""}, {"people-producer", "KAFKA_BROKERS", ""},
		{"forecast-consumer", "CLICKHOUSE_URL", ""}, {"forecast-consumer", "CLICKHOUSE_URL", "http://127.0.0.1:1"},
		{"people-consumer", "SCHEMA_REGISTRY_URL", "nonsense"}, {"people-consumer", "BATCH_ROWS", "0"}, {"people-consumer", "BATCH_AGE", "soon"},
		{"warehouse migrate", "CLICKHOUSE_URL", ""}, {"provision", "KAFKA_BROKERS", ""}, {"dlq-replayer list", "KAFKA_BROKERS", ""},
	} {
		t.Run(c.program+" "+c.unset+"="+c.set, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(c.program)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, filepath.Join(binDir, args[0]), args[1:]...)
			for name, value := range good {
				if name != c.unset {
					cmd.Env = append(cmd.Env, name+"="+value)
				}
			}
			if c.set != "" {
				cmd.Env = append(cmd.Env, c.unset+"="+c.set)
			}
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "%s", out)
			require.Equal(t, 1, exit.ExitCode())
			require.Contains(t, string(out), c.unset)
			require.Len(t, strings.Split(strings.TrimSpace(string(out)), "\n"), 1, "%s", out)
		})
	}
}
