package kafkaclient

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/revstream/revstream/pipeline/resilience"
)

// TestTheTableAgreesWithKafka: what Kafka marks as retriable passes, and says
// so, and what it does not is not said to be.
func TestTheTableAgreesWithKafka(t *testing.T) {
	t.Parallel()
	for said, known := range answers {
		require.NotEmpty(t, known.why, said.Message)
		require.Contains(t, []resilience.Class{resilience.Passes, resilience.Operator}, known.class, said.Message)
		if known.class == resilience.Operator && said != kerr.UnknownTopicOrPartition {
			require.False(t, said.Retriable, said.Message)
		}
		require.Equal(t, said.Retriable, len(known.why) > 9 && known.why[:9] == "retriable", said.Message)
	}
	require.Equal(t, resilience.Operator, ClassOf(fmt.Errorf("fetching: %w", kerr.TopicAuthorizationFailed)))
	require.Equal(t, resilience.Unknown, ClassOf(fmt.Errorf("fetching: %w", kerr.ErrorForCode(30_000))))
}
