package state_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/secrets"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

// TestASealedValueIsNotOnTheTopic, and only its key opens it.
func TestASealedValueIsNotOnTheTopic(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ProducerStateTopic)
	keeper := func() *secrets.Keeper {
		k, err := secrets.OpenKeeper(t.Context(), "base64key://") // a key of its own
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, k.Close()) })
		return k
	}
	key := keeper()
	store := open(t, cluster, "p")
	require.NoError(t, store.Save(t.Context(), "grant", cursor{Token: "in clear"}))

	var got cursor
	found, err := store.Sealed(key).Load(t.Context(), "grant", &got)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "in clear", got.Token, "of an earlier version")

	require.NoError(t, store.Sealed(key).Save(t.Context(), "grant", cursor{Token: "s3cr3t"}))
	found, err = open(t, cluster, "p").Sealed(key).Load(t.Context(), "grant", &got)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "s3cr3t", got.Token)

	_, err = store.Sealed(keeper()).Load(t.Context(), "grant", &got)
	require.ErrorContains(t, err, "p/grant")
	require.ErrorContains(t, err, "another key")
	for _, record := range pipelinetest.ReadAll(t, cluster, schemas.ProducerStateTopic) {
		require.False(t, bytes.Contains(record.Value, []byte("s3cr3t")))
	}
	found, err = store.Sealed(key).Load(t.Context(), "other", &got)
	require.NoError(t, err)
	require.False(t, found)
}
