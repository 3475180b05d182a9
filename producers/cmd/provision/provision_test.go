package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

func TestTopicsAreCreatedOnceAndLeftAlone(t *testing.T) {
	t.Parallel()
	catalogue, err := schemas.Topics()
	require.NoError(t, err)
	cluster := pipelinetest.Kafka(t, 2, schemas.PeopleTopic) // with fewer partitions than the catalogue says
	client := pipelinetest.Client(t, cluster)

	outs := make([]bytes.Buffer, 4)
	var wg sync.WaitGroup
	for i := range outs { // several at once
		wg.Go(func() { require.NoError(t, createTopics(t.Context(), &outs[i], client, catalogue, -1)) })
	}
	wg.Wait()
	created := 0
	for i := range outs {
		created += strings.Count(outs[i].String(), " created\n")
		require.Equal(t, len(catalogue), strings.Count(outs[i].String(), "\n"))
		require.Contains(t, outs[i].String(), `exists and differs: partitions is 2, catalogue says 6; cleanup.policy is "delete", catalogue says "compact"`)
	}
	require.Equal(t, len(catalogue)-1, created)

	admin := kadm.NewClient(client)
	details, err := admin.ListTopics(t.Context())
	require.NoError(t, err)
	require.Len(t, details, len(catalogue))
	for _, topic := range catalogue {
		if topic.Name == schemas.PeopleTopic {
			require.Len(t, details[topic.Name].Partitions, 2, "nothing that exists is changed")
			continue
		}
		report, err := find(t.Context(), admin, topic)
		require.NoError(t, err)
		require.Equal(t, "exists", report, topic.Name)
	}
}

func TestSchemasAreRegisteredOnce(t *testing.T) {
	t.Parallel()
	catalogue, err := schemas.Topics()
	require.NoError(t, err)
	registry, err := wire.NewRegistry(pipelinetest.Registry(t))
	require.NoError(t, err)
	var first, second bytes.Buffer
	require.NoError(t, registerSchemas(t.Context(), &first, registry, catalogue))
	require.NoError(t, registerSchemas(t.Context(), &second, registry, catalogue))
	require.Equal(t, first.String(), second.String())
	require.Equal(t, 4, strings.Count(first.String(), ": version 1, ID "))
}
