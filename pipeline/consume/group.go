package consume

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The values of Config.GroupProtocol.
const (
	// ProtocolClassic: a member of the group deals the partitions out, while
	// all of them wait.
	ProtocolClassic = "classic"
	// ProtocolConsumer is KIP-848: the brokers deal them out, and each member
	// gives up and takes over while the others go on.
	ProtocolConsumer = "consumer"
)

// heartbeatInterval is how long a member of a classic group may not know that
// the group forms anew. It does not grow with the session timeout: a member
// that hears of it too late is put out, joins anew, and so puts out others.
const heartbeatInterval = 2 * time.Second

// rebalanceTimeout is how long a classic group waits for its members to join
// again. Ours hear of it, end a commit that is under way, and join. A member
// that was killed while the group is formed holds the others up for this long, or
// until its session ends, if that is sooner. So it is below the default of the
// session timeout; kfake demands that too, as it, unlike Kafka, ends the session of
// a member that waits for its join to be answered.
const rebalanceTimeout = heartbeatInterval + commitTimeout + 2*time.Second

// membership is how a client becomes a member of the group.
func (c Config) membership() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumerGroup(c.Group),
		// A broker that does not have the consumer protocol gets classic
		// members: hence these in both cases. With the protocol, session and
		// heartbeats are as the brokers say.
		kgo.SessionTimeout(c.SessionTimeout),
		kgo.HeartbeatInterval(min(c.SessionTimeout/4, heartbeatInterval)),
	}
	if c.GroupProtocol == ProtocolConsumer {
		// Sticky stands for the brokers' own "uniform". The rebalance timeout is
		// kgo's, a minute: nobody waits for it but for the partitions to move.
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer(), kgo.CooperativeStickyBalancer()))
	} else {
		opts = append(opts, kgo.RebalanceTimeout(rebalanceTimeout))
	}
	if c.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(c.InstanceID))
	}
	return opts
}

// staticEpoch is the epoch of a heartbeat with which a static member goes for a while.
const staticEpoch = -2

// leave lets the next process of a static member have its place at once. A classic
// group gives it without that. With the consumer protocol the client says that it goes,
// but not under which instance's name, which brokers refuse: the place would be taken
// until the session ends. So it is said again here, when the client has stopped.
func (l *Loop) leave(ctx context.Context, client *kgo.Client) {
	memberID, _ := client.GroupMetadata()
	if l.cfg.InstanceID == "" || l.cfg.GroupProtocol != ProtocolConsumer || memberID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if client.LeaveGroupContext(ctx) == nil {
		return
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = l.cfg.Group, memberID, staticEpoch, &l.cfg.InstanceID
	answer, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(answer.ErrorCode)
	}
	if err != nil {
		l.logger.WarnContext(ctx, "leaving the group; its partitions wait for the end of the session", "error", err)
	}
}
