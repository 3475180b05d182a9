package web

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

// TestMetricsTellWhatAlertsAskFor: how many letters wait, and whether a consumer stands still.
func TestMetricsTellWhatAlertsAskFor(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	b := newBench(t, func(_ *Config, deps *Deps) { deps.Registerer = registry })
	b.write(b.person(1, "validation"), b.person(2, "validation"))
	note, err := json.Marshal(consume.CapNote{At: time.Now(), Reason: "validation", Poison: 100, Window: 100})
	require.NoError(t, err)
	offsets := kadm.Offsets{}
	for partition := range int32(2) {
		offsets.Add(kadm.Offset{Topic: schemas.PeopleTopic, Partition: partition, At: 5, LeaderEpoch: -1, Metadata: string(note)})
	}
	require.NoError(t, kadm.NewClient(pipelinetest.Client(t, b.cluster)).CommitAllOffsets(t.Context(), "people-consumer", offsets))

	gathered, err := testutil.GatherAndCount(registry, "revstream_dlq_letters")
	require.NoError(t, err)
	require.Positive(t, gathered, "states without letters are told, too")
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP revstream_dlq_stopped_partitions Partitions at which the cap of poison has stopped their consumer, by group and topic.
# TYPE revstream_dlq_stopped_partitions gauge
revstream_dlq_stopped_partitions{group="people-consumer",topic="revenue.people.v1"} 2
`), "revstream_dlq_stopped_partitions"))
	require.Equal(t, map[string]float64{"open": 2, "open validation": 2}, map[string]float64{
		"open": lettersOf(t, registry, "open"), "open validation": lettersOf(t, registry, "open", "validation"),
	})
	require.Zero(t, lettersOf(t, registry, "parked", "validation"))
}

// lettersOf sums up the letters whose labels have all of these values.
func lettersOf(t *testing.T, registry *prometheus.Registry, values ...string) (letters float64) {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != "revstream_dlq_letters" {
			continue
		}
		for _, metric := range family.GetMetric() {
			has := map[string]bool{}
			for _, label := range metric.GetLabel() {
				has[label.GetValue()] = true
			}
			if !slices.ContainsFunc(values, func(value string) bool { return !has[value] }) {
				letters += metric.GetGauge().GetValue()
			}
		}
	}
	return letters
}
