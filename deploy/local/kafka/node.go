package kafka

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/deploy/local/process"
)

// encoding is how Kafka writes a UUID.
var encoding = base64.RawURLEncoding

//go:embed log4j2.properties
var logging []byte

// settings that every node has. Replication is as in production; what is shorter
// than Kafka's defaults is what makes a test wait: sessions, elections, and the
// pause before a new group's first rebalance. All nodes stop at once, and then the
// last would wait for controllers that are gone to take its partitions.
const settings = `process.roles=broker,controller
inter.broker.listener.name=REPLICATION
controller.listener.names=CONTROLLER
num.network.threads=2
num.io.threads=4
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=6
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=3
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms=6000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1500
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
controlled.shutdown.enable=false
log.cleaner.dedupe.buffer.size=16777216
`

// properties are the settings of a node.
func (c *Cluster) properties(n *node) []byte {
	var out bytes.Buffer
	out.WriteString(settings)
	var voters, protocols []string
	for _, other := range c.nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", other.id, other.advertised[controller]))
	}
	listeners := []string{controller + "://" + n.listen[controller]}
	var advertised []string
	for _, l := range append([]string{replication}, c.cfg.Clients...) {
		listeners = append(listeners, l+"://"+n.listen[l])
		advertised = append(advertised, l+"://"+n.advertised[l])
	}
	for l := range n.listen {
		protocols = append(protocols, l+":PLAINTEXT")
	}
	fmt.Fprintf(&out, "node.id=%d\ncontroller.quorum.voters=%s\nlisteners=%s\nadvertised.listeners=%s\nlistener.security.protocol.map=%s\nlog.dirs=%s\n",
		n.id, strings.Join(voters, ","), strings.Join(listeners, ","), strings.Join(advertised, ","), strings.Join(protocols, ","), filepath.Join(n.dir, "data"))
	return out.Bytes()
}

// java is the command line of a program of Kafka's. The small compiler and
// collector are those that start fast and leave the cores to others.
func (c *Cluster) java(heap string, n *node, class string, args ...string) []string {
	return append([]string{
		"java", "-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + filepath.Join(n.dir, "log4j2.properties"), "-Dkafka.logs.dir=" + n.dir,
		"-cp", filepath.Join(c.cfg.Lib, "*"), class,
	}, args...)
}

func (c *Cluster) launch(ctx context.Context, n *node) error {
	if n.process != nil {
		select {
		case <-n.process.Exited():
		default:
			return fmt.Errorf("%s runs already", n.process.Name())
		}
	}
	config := filepath.Join(n.dir, "server.properties")
	if err := errors.Join(os.WriteFile(config, c.properties(n), 0o644), os.WriteFile(filepath.Join(n.dir, "log4j2.properties"), logging, 0o644)); err != nil {
		return fmt.Errorf("writing the settings of Kafka node %d: %w", n.id, err)
	}
	if _, err := os.Stat(filepath.Join(n.dir, "data", "meta.properties")); err != nil {
		args := c.java("128m", n, "kafka.tools.StorageTool", "format", "-t", c.id, "-c", config)
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("formatting the storage of Kafka node %d (is Java 17 or newer installed?): %w\n%s", n.id, err, out)
		}
	}
	var err error
	n.process, err = process.Start(process.Spec{
		Name: fmt.Sprintf("kafka-%d", n.id), Env: os.Environ(), Log: filepath.Join(n.dir, "log"),
		Args: c.java(c.cfg.Heap, n, "kafka.Kafka", config),
	})
	return err
}

// await waits until a node answers, and is among the brokers that it tells of.
func (c *Cluster) await(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	addr := n.listen[c.cfg.Clients[0]]
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestRetries(0), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return fmt.Errorf("waiting for Kafka node %d: %w", n.id, err)
	}
	defer client.Close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		// The bootstrap connection is the node's own; what it tells is not asked elsewhere.
		answer, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client.SeedBrokers()[0])
		if err == nil && serves(answer, n) {
			return nil
		}
		select {
		case <-n.process.Exited():
			return fmt.Errorf("waiting for it to serve: %w (log: %s)", n.process.Err(), filepath.Join(n.dir, "log"))
		case <-ctx.Done():
			return fmt.Errorf("Kafka node %d does not serve: %w (log: %s)", n.id, errors.Join(ctx.Err(), err), filepath.Join(n.dir, "log"))
		case <-tick.C:
		}
	}
}

func serves(answer *kmsg.MetadataResponse, n *node) bool {
	for _, broker := range answer.Brokers {
		if int(broker.NodeID) == n.id {
			return true
		}
	}
	return false
}

// Controller returns the ID of the node that is the active controller.
func Controller(ctx context.Context, client *kgo.Client) (int, error) {
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = []kmsg.DescribeQuorumRequestTopicPartition{kmsg.NewDescribeQuorumRequestTopicPartition()}
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{topic}
	answer, err := req.RequestWith(ctx, client)
	if err != nil {
		return 0, fmt.Errorf("finding the active controller: %w", err)
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if p.LeaderID > 0 {
				return int(p.LeaderID), nil
			}
		}
	}
	return 0, errors.New("finding the active controller: there is none now")
}
