package pipelinetest

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/snapshot"
)

// kafkaPatience bounds the wait for Apache Kafka to forget an earlier test.
const kafkaPatience = time.Minute

// Cluster is the Kafka of a test.
type Cluster struct {
	t     testing.TB
	addrs []string
	fake  *kfake.Cluster // nil on Apache Kafka
}

// Kafka starts a broker in this process with topics of the given number of
// partitions. With TEST_KAFKA_BROKERS it takes the Apache Kafka there instead,
// where it deletes all that earlier tests have left: one test may run at a time.
func Kafka(t testing.TB, partitions int32, topics ...string) *Cluster {
	t.Helper()
	if Apache() {
		c := &Cluster{t: t, addrs: strings.Split(os.Getenv("TEST_KAFKA_BROKERS"), ",")}
		c.renew(partitions, topics)
		return c
	}
	return Kfake(t, kfake.SeedTopics(partitions, topics...))
}

// Kfake starts a broker in this process, for tests that need what only it can do; with
// TEST_KAFKA_BROKERS it skips them.
func Kfake(t testing.TB, opts ...kfake.Opt) *Cluster {
	t.Helper()
	NeedKfake(t)
	fake, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(fake.Close)
	return &Cluster{t: t, addrs: fake.ListenAddrs(), fake: fake}
}

// NeedKfake skips a test on Apache Kafka.
func NeedKfake(t testing.TB) {
	t.Helper()
	if Apache() {
		t.Skip("this test needs the broker in this process, which fails as it is told to; `make test` runs it")
	}
}

// Apache says whether the tests run on Apache Kafka.
func Apache() bool { return os.Getenv("TEST_KAFKA_BROKERS") != "" }

// ListenAddrs are the addresses of the brokers.
func (c *Cluster) ListenAddrs() []string { return c.addrs }

// faulty is the broker in this process; on Apache Kafka it skips the test.
func (c *Cluster) faulty() *kfake.Cluster {
	c.t.Helper()
	NeedKfake(c.t)
	return c.fake
}

// Fault is kfake's. On Apache Kafka it skips the test, as the methods below do.
func (c *Cluster) Fault(faults ...kfake.Fault) *kfake.FaultHandle {
	c.t.Helper()
	return c.faulty().Fault(faults...)
}

// ControlKey is kfake's.
func (c *Cluster) ControlKey(key int16, answer func(kmsg.Request) (kmsg.Response, error, bool)) {
	c.t.Helper()
	c.faulty().ControlKey(key, answer)
}

// KeepControl is kfake's.
func (c *Cluster) KeepControl() { c.faulty().KeepControl() }

// SleepControl is kfake's.
func (c *Cluster) SleepControl(wakeup func()) { c.faulty().SleepControl(wakeup) }

// renew leaves the cluster with empty topics of these names, and without others and groups.
func (c *Cluster) renew(partitions int32, topics []string) {
	t := c.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), kafkaPatience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.addrs...), kgo.MetadataMinAge(10*time.Millisecond))
	require.NoError(t, err)
	defer client.Close()
	admin := kadm.NewClient(client)

	old, err := admin.ListTopics(ctx)
	require.NoError(t, err)
	deleted, err := admin.DeleteTopics(ctx, old.Names()...)
	require.NoError(t, err)
	require.NoError(t, deleted.Error())
	c.until(ctx, "the groups of earlier tests are gone", func() bool { return dissolve(ctx, t, client, admin) })

	ids := map[string]kadm.TopicID{}
	if len(topics) > 0 {
		created, err := admin.CreateTopics(ctx, partitions, -1, nil, topics...)
		require.NoError(t, err)
		require.NoError(t, created.Error())
		for _, topic := range created {
			ids[topic.Topic] = topic.ID
		}
	}
	brokers, err := admin.ListBrokers(ctx)
	require.NoError(t, err)
	for _, broker := range brokers {
		c.until(ctx, "every broker serves the topics, and no others", func() bool {
			answer, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client.Broker(int(broker.NodeID)))
			return err == nil && maps.Equal(ids, served(answer))
		})
	}
}

// served are the topics that a broker knows a leader of for each partition.
func served(answer *kmsg.MetadataResponse) map[string]kadm.TopicID {
	ids := map[string]kadm.TopicID{}
	for _, topic := range answer.Topics {
		leaderless := func(p kmsg.MetadataResponseTopicPartition) bool { return p.ErrorCode != 0 || p.Leader < 0 }
		if !topic.IsInternal && topic.ErrorCode == 0 && !slices.ContainsFunc(topic.Partitions, leaderless) {
			ids[*topic.Topic] = topic.TopicID
		}
	}
	return ids
}

// dissolve deletes groups, and says whether none is left. One that still has
// members, such as a killed one's, goes when their sessions end.
func dissolve(ctx context.Context, t testing.TB, client *kgo.Client, admin *kadm.Client) bool {
	groups, err := admin.ListGroups(ctx)
	if err != nil || len(groups) == 0 {
		return err == nil
	}
	described, err := admin.DescribeGroups(ctx, groups.Groups()...)
	require.NoError(t, err)
	for _, group := range described {
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Group = group.Group
		for _, m := range group.Members {
			member := kmsg.NewLeaveGroupRequestMember()
			member.MemberID, member.InstanceID = m.MemberID, m.InstanceID
			leave.Members = append(leave.Members, member)
		}
		_, _ = leave.RequestWith(ctx, client) // what stays is seen at the next try
	}
	_, err = admin.DeleteGroups(ctx, groups.Groups()...)
	require.NoError(t, err)
	return false
}

func (c *Cluster) until(ctx context.Context, what string, condition func() bool) {
	c.t.Helper()
	for tick := time.NewTicker(20 * time.Millisecond); !condition(); <-tick.C {
		require.NoError(c.t, ctx.Err(), "waiting until %s", what)
	}
}

// Client returns a client of a cluster that is closed with the test.
func Client(t testing.TB, cluster *Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cluster.addrs...)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// ReadAll returns the committed records of a topic up to its present end,
// partition by partition and each in order.
func ReadAll(t testing.TB, cluster *Cluster, topic string) []*kgo.Record {
	t.Helper()
	var records []*kgo.Record
	require.NoError(t, snapshot.Read(t.Context(), Client(t, cluster), topic, func(rec *kgo.Record) error {
		records = append(records, rec)
		return nil
	}))
	return records
}
