package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/anomaly"
	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/alert"
	"github.com/revstream/revstream/schemas/wire"
)

// TestAnomaliesFromTheCommandLine: detect prints what it opened, list what is open, ack closes it.
func TestAnomaliesFromTheCommandLine(t *testing.T) {
	t.Parallel()
	url, cluster, registryURL := pipelinetest.ClickHouse(t), pipelinetest.Kafka(t, 1, schemas.AlertsTopic), pipelinetest.Registry(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	detect := []string{"anomalies", "detect", "--kafka-brokers", strings.Join(cluster.ListenAddrs(), ","), "--schema-registry-url", registryURL, "--percent", "50", "--floor", "100"}
	_, stderr, code := program(t, url, detect...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "register it with `provision`")
	registry, err := wire.NewRegistry(registryURL)
	require.NoError(t, err)
	_, err = registry.Register(t.Context(), schemas.AlertsTopic, schemas.MustAvro(alert.SchemaFile))
	require.NoError(t, err)

	for i, amount := range []int{1000, 1400, 2200} { // by 40 %, and by 57 %
		pipelinetest.SQL(t, url, fmt.Sprintf(`INSERT INTO forecast_history (forecast_id, time_period_id, user_id, value, event_id, source_version, user_name, user_email)
VALUES ('net', '2026_Q4', '7:00E', %d, '0190825e-a538-80db-9770-6c50c4e6969%d', now() - %d, 'Ann', 'ann@example.com')`, amount, i, 9-i))
	}
	out, stderr, code := program(t, url, detect...)
	require.Zero(t, code, stderr)
	require.Regexp(t, `open +\S+ \S+ +user +7:00E +2026_Q4 .* 1400 +2200 +57.14 +1\n3 versions looked at, 1 reviews opened, 0 suppressed by a storm\n$`, out)
	require.NotContains(t, out+stderr, "Ann")
	require.NotContains(t, out+stderr, "example.com")
	require.Len(t, pipelinetest.ReadAll(t, cluster, schemas.AlertsTopic), 1)

	out, stderr, code = program(t, url, append(detect, "--json")...)
	require.Zero(t, code, stderr)
	var report anomaly.Report
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Empty(t, report.Opened)
	require.Contains(t, out, `"opened":[]`)

	out, stderr, code = program(t, url, "anomalies", "list", "--json")
	require.Zero(t, code, stderr)
	var reviews []anomaly.Review
	require.NoError(t, json.Unmarshal([]byte(out), &reviews))
	require.Len(t, reviews, 1)
	id := reviews[0].ID.String()
	for args, want := range map[string]string{
		"7":               `"7" is not the ID of a review`,
		id[:35] + "f":     "no review has the ID " + id[:35] + "f",
		id + " --reason=": "--reason: say why",
	} {
		args := append([]string{"anomalies", "ack", "--reason", "because"}, strings.Fields(args)...)
		_, stderr, code = program(t, url, args...)
		require.Equal(t, 1, code)
		require.Contains(t, stderr, want)
	}
	for _, want := range []string{"acknowledged " + id + "\n", "1 acknowledged before\n"} {
		out, stderr, code = program(t, url, "anomalies", "ack", id, "--reason", "a typo", "--by", "ops")
		require.Zero(t, code, stderr)
		require.Equal(t, want, out)
	}
	out, _, _ = program(t, url, "anomalies", "list")
	require.Equal(t, "no reviews\n", out)
	out, _, _ = program(t, url, "anomalies", "list", "--all")
	require.Contains(t, out, id+"  acknowledged")
}
