package check

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

// allow is the rule that lets a user do something with a topic or a group.
func allow(resource kmsg.ACLResourceType, name string, op kmsg.ACLOperation) kfake.ACL {
	return kfake.ACL{Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true}
}

// brokers has two users: "ops" may do everything, "producer" what rules says.
func brokers(t *testing.T, rules ...kfake.ACL) *pipelinetest.Cluster {
	t.Helper()
	cluster := pipelinetest.Kfake(t, kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.Superuser("PLAIN", "ops", "ops-password"), kfake.User("PLAIN", "producer", "producer-password", rules...))
	catalogue, err := schemas.Topics()
	require.NoError(t, err)
	admin := kadm.NewClient(login(t, cluster, "ops", "ops-password"))
	for _, topic := range catalogue {
		_, err := admin.CreateTopic(t.Context(), topic.Partitions, 1, topic.Configs(), topic.Name)
		require.NoError(t, err)
	}
	return cluster
}

func login(t *testing.T, cluster *pipelinetest.Cluster, user, password string) *kgo.Client {
	t.Helper()
	client, err := kafkaclient.New(kafkaclient.Config{
		Brokers: cluster.ListenAddrs(), SASLMechanism: "PLAIN", SASLUser: user, SASLPassword: secret.Ref(password),
	}, slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func checkKafka(t *testing.T, client *kgo.Client) string {
	t.Helper()
	return lines(t, Run(t.Context(), nil, Kafka(KafkaConfig{
		Client: client, Producer: "forecast-producer", Locks: []string{"export"}, Topic: schemas.ForecastTopic,
	})))
}

func TestKafkaRightsAreReadFromTheBrokers(t *testing.T) {
	t.Parallel()
	const topic, group = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup
	const read, write, describe = kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe
	rules := []kfake.ACL{
		allow(topic, schemas.ForecastTopic, read), allow(topic, schemas.ForecastTopic, write),
		allow(topic, schemas.DLQTopic(schemas.ForecastTopic), write), allow(topic, schemas.ExportRunsTopic, write),
		allow(topic, schemas.ProducerStateTopic, read), allow(topic, schemas.ProducerStateTopic, write),
		allow(group, "revstream-lock.forecast-producer/export", read),
	}
	cluster := brokers(t, append(rules, allow(topic, schemas.ForecastTopic, kmsg.ACLOperationDescribeConfigs))...)
	out := checkKafka(t, login(t, cluster, "producer", "producer-password"))
	require.Contains(t, out, "[PASS] Kafka: Connected (")
	require.Contains(t, out, "[PASS] Topic "+schemas.ForecastTopic+": As in the catalogue\n")
	require.Contains(t, out, "[WARN] Topic "+schemas.ExportRunsTopic+": settings UNVERIFIED: the user lacks the right DescribeConfigs\n")
	require.Contains(t, out, "[PASS] Rights on "+schemas.ForecastTopic+": May READ and WRITE\n")
	require.Contains(t, out, "[PASS] Right to lock export: Allowed\n")
	require.NotContains(t, out, "FAIL")
	require.NotContains(t, checkKafka(t, login(t, cluster, "ops", "ops-password")), "WARN")

	few := brokers(t, allow(topic, schemas.ForecastTopic, write), allow(topic, schemas.DLQTopic(schemas.ForecastTopic), describe))
	out = checkKafka(t, login(t, few, "producer", "producer-password"))
	require.Contains(t, out, "[FAIL] Rights on "+schemas.ForecastTopic+": LACKS READ — grant the user READ on topic "+schemas.ForecastTopic+"\n")
	require.Contains(t, out, "[FAIL] Rights on "+schemas.DLQTopic(schemas.ForecastTopic)+": LACKS WRITE")
	require.Contains(t, out, "[FAIL] Rights on "+schemas.ProducerStateTopic+": ")
	require.Contains(t, out, "grant the user DESCRIBE on the topic")
	require.Contains(t, out, "[FAIL] Right to lock export: ")
	require.Contains(t, out, "begin with revstream-lock.forecast-producer/\n")
	require.NotContains(t, out, "password")

	out = checkKafka(t, login(t, cluster, "producer", "another-password"))
	require.Contains(t, out, "[FAIL] Kafka: REFUSED: the broker closes the connection")
	require.Contains(t, out, "[SKIP] Topic "+schemas.ForecastTopic+": needs Kafka\n")
	require.NotContains(t, out, "another-password")
}

func TestKafkaTopicsAreComparedWithTheCatalogue(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 6, schemas.ForecastTopic, schemas.ExportRunsTopic) // with the brokers' own settings
	client := pipelinetest.Client(t, cluster)
	compact := "compact"
	_, err := kadm.NewClient(client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "cleanup.policy", Value: &compact}}, schemas.ExportRunsTopic)
	require.NoError(t, err)
	out := checkKafka(t, client)
	require.Contains(t, out, "[FAIL] Topic "+schemas.ForecastTopic+": DIFFERS: cleanup.policy is \"delete\", catalogue says \"compact\"")
	require.Contains(t, out, "[WARN] Topic "+schemas.ExportRunsTopic+": Differs: partitions is 6, catalogue says 1")
	require.Contains(t, out, "[FAIL] Topic "+schemas.ProducerStateTopic+": MISSING — create it with `provision`\n")
	require.Contains(t, out, "[SKIP] Rights on "+schemas.ProducerStateTopic+": needs Topic "+schemas.ProducerStateTopic+"\n")
	for _, record := range pipelinetest.ReadAll(t, cluster, schemas.ForecastTopic) {
		require.Fail(t, "the check has written a record", "%d", record.Offset)
	}
}

func TestKafkaThatIsAway(t *testing.T) {
	t.Parallel()
	client, err := kafkaclient.New(kafkaclient.Config{Brokers: []string{"127.0.0.1:1"}}, slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	defer client.Close()
	start := time.Now()
	require.Contains(t, checkKafka(t, client), "[FAIL] Kafka: UNREACHABLE: ")
	require.Less(t, time.Since(start), 10*time.Second)
	report := Run(t.Context(), nil, Kafka(KafkaConfig{Err: errors.New("KAFKA_TLS_CA_FILE: no such file"), Topic: schemas.PeopleTopic}))
	require.Contains(t, lines(t, report), "[FAIL] Kafka: KAFKA_TLS_CA_FILE: no such file")
}

func TestRegistryTakesTheSchemas(t *testing.T) {
	t.Parallel()
	url := pipelinetest.Registry(t)
	registry, err := wire.NewRegistry(url)
	require.NoError(t, err)
	check := func(address string, register bool) string {
		return lines(t, Run(t.Context(), nil, Registry(RegistryConfig{
			URL: secret.Ref(address), Register: register,
			Topics: []string{schemas.ForecastTopic, schemas.ExportRunsTopic},
		})))
	}
	const schema = "Schema of " + schemas.ForecastTopic
	require.Contains(t, check(url, true), "[PASS] "+schema+": Compatible; the producer registers it")
	out := check(url, false)
	require.Contains(t, out, "[PASS] Schema Registry: Connected (")
	require.Contains(t, out, "[FAIL] "+schema+": NOT REGISTERED; it is compatible — run `provision`")
	_, err = registry.Lookup(t.Context(), schemas.ForecastTopic, schemas.MustAvro("forecast.v1.avsc"))
	require.ErrorIs(t, err, wire.ErrNotRegistered, "the check has registered it")

	_, err = registry.Register(t.Context(), schemas.ForecastTopic, schemas.MustAvro("forecast.v1.avsc"))
	require.NoError(t, err)
	require.Contains(t, check(url, false), "[PASS] "+schema+": Registered as version 1")

	_, err = registry.Register(t.Context(), schemas.ExportRunsTopic, `{"type":"record","name":"Other","fields":[{"name":"only","type":"string"}]}`)
	require.NoError(t, err)
	require.Contains(t, check(url, true), "[FAIL] Schema of "+schemas.ExportRunsTopic+": INCOMPATIBLE with what is registered: ")

	require.Contains(t, check("http://user:hunter2@127.0.0.1:1", true), "[FAIL] Schema Registry: UNREACHABLE")
	require.NotContains(t, check("http://user:hunter2@127.0.0.1:1", true), "hunter2")
	require.Contains(t, check("registry:8081", true), "[FAIL] Schema Registry: SCHEMA_REGISTRY_URL is not")
	require.True(t, strings.HasSuffix(check("registry:8081", true), "needs Schema Registry\n"))
}
