package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/producers/topics"
	"github.com/revstream/revstream/schemas"
)

// KafkaName is the check that the brokers are there, which others may need.
const KafkaName = "Kafka"

// KafkaConfig is what a producer needs of Kafka.
type KafkaConfig struct {
	Needs    []string // checks that the client's settings are there
	Client   *kgo.Client
	Err      error    // why there is no client
	Producer string   // whose state and locks it uses
	Locks    []string // of the producer
	Topic    string   // of its entity
}

// Kafka checks the brokers, the topics that a producer needs, and its rights. It writes nothing.
func Kafka(cfg KafkaConfig) []Check {
	checks := []Check{{Name: KafkaName, Needs: cfg.Needs, Run: func(ctx context.Context) Result {
		const way = "check KAFKA_BROKERS, the network, and KAFKA_TLS and KAFKA_SASL_… against what the brokers want"
		if cfg.Err != nil {
			return failed("set it right", "%v", cfg.Err)
		}
		start := time.Now()
		err := cfg.Client.Ping(ctx)
		switch {
		case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism):
			return failed("check KAFKA_SASL_MECHANISM, KAFKA_SASL_USER and KAFKA_SASL_PASSWORD", "CREDENTIALS REFUSED: %v", err)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return failed(way, "REFUSED: the broker closes the connection, as it does on a wrong password, and on TLS where it wants none or none where it wants it")
		case err != nil:
			return failed(way, "UNREACHABLE: %v", err)
		}
		return connected(start)
	}}}
	const read, write = kmsg.ACLOperationRead, kmsg.ACLOperationWrite
	for _, need := range []struct {
		topic  string
		rights []kmsg.ACLOperation
	}{
		{cfg.Topic, []kmsg.ACLOperation{read, write}}, // read: what is published already is not published again
		{schemas.DLQTopic(cfg.Topic), []kmsg.ACLOperation{write}},
		{schemas.ExportRunsTopic, []kmsg.ACLOperation{write}},
		{schemas.ProducerStateTopic, []kmsg.ACLOperation{read, write}},
	} {
		exists := "Topic " + need.topic
		checks = append(checks,
			Check{Name: exists, Needs: []string{KafkaName}, Run: func(ctx context.Context) Result {
				return topic(ctx, kadm.NewClient(cfg.Client), need.topic)
			}},
			Check{Name: "Rights on " + need.topic, Needs: []string{exists}, Run: func(ctx context.Context) Result {
				return rights(ctx, kadm.NewClient(cfg.Client), need.topic, need.rights)
			}})
	}
	for _, name := range cfg.Locks {
		checks = append(checks, Check{Name: "Right to lock " + name, Needs: []string{KafkaName}, Run: func(ctx context.Context) Result {
			if err := state.MayLock(ctx, cfg.Client, cfg.Producer, name); err != nil {
				return failed("grant the user READ on the groups that begin with "+state.LockGroups(cfg.Producer), "%v", err)
			}
			return passed("Allowed")
		}})
	}
	return checks
}

// topic compares a topic with the catalogue. What the cleanup policy deletes is lost to new subscribers, and the
// producer's position with it; the rest are matters of taste.
func topic(ctx context.Context, admin *kadm.Client, name string) Result {
	catalogue, err := schemas.Topics()
	if err != nil {
		return failed("build the program from a clean tree", "%v", err)
	}
	i := slices.IndexFunc(catalogue, func(t schemas.Topic) bool { return t.Name == name })
	differs, err := topics.Compare(ctx, admin, catalogue[i])
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return failed("create it with `provision`", "MISSING")
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return warned("settings UNVERIFIED: the user lacks the right DescribeConfigs")
	case err != nil:
		return failed("run the check again; if it stays, look at the brokers' logs", "%v", err)
	case len(differs) == 0:
		return passed("As in the catalogue")
	}
	words := make([]string, len(differs))
	for i, d := range differs {
		words[i] = d.String()
	}
	for _, d := range differs {
		if d.Setting == "cleanup.policy" {
			way := fmt.Sprintf("kafka-configs.sh --alter --topic %s --add-config %s=%s", name, d.Setting, d.Want)
			return failed(way, "DIFFERS: %s", strings.Join(words, "; "))
		}
	}
	return warned("Differs: %s", strings.Join(words, "; "))
}

// rights asks the broker what this user may do with a topic.
func rights(ctx context.Context, admin *kadm.Client, topic string, want []kmsg.ACLOperation) Result {
	details, err := admin.ListTopics(kadm.WithAuthorizedOps(ctx), topic)
	if err == nil {
		err = details[topic].Err
	}
	if err != nil {
		return failed("grant the user DESCRIBE on the topic", "%v", err)
	}
	have := details[topic].AuthorizedOperations
	if len(have) == 0 { // the user may see the topic at least
		return warned("UNVERIFIED: the broker does not tell, as before Kafka 2.3")
	}
	var names, missing []string
	for _, right := range want {
		names = append(names, right.String())
		if !slices.Contains(have, right) {
			missing = append(missing, right.String())
		}
	}
	if len(missing) > 0 {
		lacking := strings.Join(missing, " and ")
		return failed(fmt.Sprintf("grant the user %s on topic %s", lacking, topic), "LACKS %s", lacking)
	}
	return passed("May %s", strings.Join(names, " and "))
}
