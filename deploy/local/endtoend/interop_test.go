package endtoend

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/deploy/local/stack"
)

// TestAnotherClientReadsTheTopics: what our producer writes reads well with a
// Kafka client, an Avro library and a registry client that are not ours.
func TestAnotherClientReadsTheTopics(t *testing.T) {
	t.Parallel()
	const people, topic = 40, "revenue.people.v1"
	s := newStack(t, stack.Sources{Seed: 5, People: fmt.Sprint(people)})
	_, err := s.Start(t.Context(), stack.Broker, stack.Registry, stack.Salesloft)
	require.NoError(t, err)
	_, err = s.Run(t.Context(), "", "provision")
	require.NoError(t, err)
	_, err = s.Run(t.Context(), "", stack.PeopleProducer, "--once")
	require.NoError(t, err)

	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{s.Config().Addrs.Broker}, Topic: topic, GroupID: "another-team", StartOffset: kafka.FirstOffset,
	})
	defer reader.Close()
	codecs := map[uint32]*goavro.Codec{}
	seen := map[string]bool{}
	for range people {
		message, err := reader.ReadMessage(t.Context())
		require.NoError(t, err)
		require.Zero(t, message.Value[0])
		id := binary.BigEndian.Uint32(message.Value[1:])
		if codecs[id] == nil {
			codecs[id] = codec(t, s.Config().RegistryURL(), id)
		}
		native, rest, err := codecs[id].NativeFromBinary(message.Value[5:])
		require.NoError(t, err)
		require.Empty(t, rest)

		headers := map[string]string{}
		for _, h := range message.Headers {
			headers[h.Key] = string(h.Value)
		}
		event := native.(map[string]any)
		require.Equal(t, headers["ce_id"], event["event_id"])
		require.Equal(t, "application/avro", headers["content-type"])
		require.Equal(t, headers["correlation-id"], event["correlation_id"])
		require.Equal(t, fmt.Sprintf("salesloft:%d", event["person_id"]), string(message.Key))
		require.Equal(t, string(message.Key), headers["ce_subject"])
		seen[headers["ce_id"]] = true
	}
	require.Len(t, seen, people)
}

// codec asks the registry for a schema as any HTTP client would.
func codec(t *testing.T, registry string, id uint32) *goavro.Codec {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/schemas/ids/%d", registry, id), nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct{ Schema string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	c, err := goavro.NewCodec(answer.Schema)
	require.NoError(t, err)
	return c
}
