package kafkaclient

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/revstream/revstream/pipeline/resilience"
)

// answer is what an error of Kafka says.
type answer struct {
	class resilience.Class
	why   string
}

// answers has the errors with which brokers answer what our programs ask:
// metadata, fetches, membership, commits, records, transactions. No error of
// Kafka makes a record poison. Names and meanings are those of Kafka's Errors
// enum; what it marks as retriable passes, but for topics that nobody has created.
var answers = map[*kerr.Error]answer{
	kerr.CorruptMessage:                     {resilience.Passes, "retriable: the batch was damaged on its way"},
	kerr.LeaderNotAvailable:                 {resilience.Passes, "retriable: an election"},
	kerr.NotLeaderForPartition:              {resilience.Passes, "retriable: the leader has moved"},
	kerr.RequestTimedOut:                    {resilience.Passes, "retriable: the replicas took too long; it may have been carried out"},
	kerr.BrokerNotAvailable:                 {resilience.Passes, "retriable: the broker is away"},
	kerr.ReplicaNotAvailable:                {resilience.Passes, "retriable: the replica is away"},
	kerr.NetworkException:                   {resilience.Passes, "retriable: the connection was lost"},
	kerr.CoordinatorLoadInProgress:          {resilience.Passes, "retriable: the coordinator has moved and reads its log"},
	kerr.CoordinatorNotAvailable:            {resilience.Passes, "retriable: the coordinator has no leader, or its topic is not there yet"},
	kerr.NotCoordinator:                     {resilience.Passes, "retriable: the coordinator has moved"},
	kerr.NotEnoughReplicas:                  {resilience.Passes, "retriable: fewer replicas in sync than min.insync.replicas"},
	kerr.NotEnoughReplicasAfterAppend:       {resilience.Passes, "retriable: likewise, and the batch is in the log"},
	kerr.NotController:                      {resilience.Passes, "retriable: the controller has moved"},
	kerr.KafkaStorageError:                  {resilience.Passes, "retriable: the broker lost a disk, and its partitions move"},
	kerr.FetchSessionIDNotFound:             {resilience.Passes, "retriable: the client begins a new fetch session"},
	kerr.InvalidFetchSessionEpoch:           {resilience.Passes, "retriable: likewise"},
	kerr.FencedLeaderEpoch:                  {resilience.Passes, "retriable: the client's metadata are old"},
	kerr.UnknownLeaderEpoch:                 {resilience.Passes, "retriable: the broker's metadata are old"},
	kerr.OffsetNotAvailable:                 {resilience.Passes, "retriable: a new leader does not know its end yet"},
	kerr.UnknownTopicID:                     {resilience.Passes, "retriable: the broker's or the client's metadata are old"},
	kerr.InconsistentTopicID:                {resilience.Passes, "retriable: the topic was created anew"},
	kerr.UnstableOffsetCommit:               {resilience.Passes, "retriable: a transaction is about to commit offsets"},
	kerr.ThrottlingQuotaExceeded:            {resilience.Passes, "retriable: the quota is used up for the moment"},
	kerr.OffsetOutOfRange:                   {resilience.Passes, "retention took the records: the client goes on with what is left"},
	kerr.IllegalGeneration:                  {resilience.Passes, "the group was formed anew: the member joins it"},
	kerr.UnknownMemberID:                    {resilience.Passes, "the member was put out: it joins anew"},
	kerr.RebalanceInProgress:                {resilience.Passes, "the group forms anew: the member joins it"},
	kerr.MemberIDRequired:                   {resilience.Passes, "a step of joining"},
	kerr.FencedMemberEpoch:                  {resilience.Passes, "the member was put out: it joins anew"},
	kerr.StaleMemberEpoch:                   {resilience.Passes, "the member's next heartbeat tells it the new epoch"},
	kerr.UnreleasedInstanceID:               {resilience.Passes, "the process before this one was killed: its session ends, unless it lives and has the same GROUP_INSTANCE_ID"},
	kerr.OutOfOrderSequenceNumber:           {resilience.Passes, "a batch before this one is missing: the client sends both again, or takes a new producer ID"},
	kerr.UnknownProducerID:                  {resilience.Passes, "the broker has forgotten the producer: the client takes a new ID"},
	kerr.InvalidProducerIDMapping:           {resilience.Passes, "likewise"},
	kerr.InvalidProducerEpoch:               {resilience.Passes, "the producer's transaction timed out: the client takes a new epoch"},
	kerr.ConcurrentTransactions:             {resilience.Passes, "the transaction before this one is being ended"},
	kerr.UnknownTopicOrPartition:            {resilience.Operator, "retriable, as metadata may be old; what lasts is a topic that nobody has created"},
	kerr.InvalidTopicException:              {resilience.Operator, "the topic's name is none, or it is one of Kafka's own"},
	kerr.MessageTooLarge:                    {resilience.Operator, "max.message.bytes of the topic is too small"},
	kerr.RecordListTooLarge:                 {resilience.Operator, "segment.bytes of the topic is too small"},
	kerr.InvalidRecord:                      {resilience.Operator, "the topic demands what our records do not have"},
	kerr.PolicyViolation:                    {resilience.Operator, "a policy of the cluster refuses"},
	kerr.OffsetMetadataTooLarge:             {resilience.Operator, "offset.metadata.max.bytes of the cluster is too small"},
	kerr.InconsistentGroupProtocol:          {resilience.Operator, "the group's other members are not ours, or of an older release"},
	kerr.InvalidSessionTimeout:              {resilience.Operator, "SESSION_TIMEOUT is not what the cluster admits"},
	kerr.GroupMaxSizeReached:                {resilience.Operator, "the group has as many members as the cluster admits"},
	kerr.FencedInstanceID:                   {resilience.Operator, "another process has the same GROUP_INSTANCE_ID"},
	kerr.UnsupportedAssignor:                {resilience.Operator, "the cluster has switched the uniform assignor off"},
	kerr.UnsupportedVersion:                 {resilience.Operator, "the cluster is older than what the setting needs"},
	kerr.TopicAuthorizationFailed:           {resilience.Operator, "the user lacks a right on the topic"},
	kerr.GroupAuthorizationFailed:           {resilience.Operator, "the user lacks a right on the group"},
	kerr.ClusterAuthorizationFailed:         {resilience.Operator, "the user lacks a right on the cluster"},
	kerr.TransactionalIDAuthorizationFailed: {resilience.Operator, "the user lacks a right on the transactional ID"},
	kerr.UnsupportedSaslMechanism:           {resilience.Operator, "KAFKA_SASL_MECHANISM is none of the cluster's"},
	kerr.SaslAuthenticationFailed:           {resilience.Operator, "the user or the password is wrong"},
	kerr.UnsupportedCompressionType:         {resilience.Operator, "the cluster does not know zstd"},
	kerr.ProducerFenced:                     {resilience.Operator, "another process has taken the transactional ID over"},
}

// ClassOf returns the class of what a client failed with: Kafka's answer if there is one, else what
// resilience.ClassOf says. An answer that the table does not have, UNKNOWN_SERVER_ERROR for one, is unknown.
func ClassOf(err error) resilience.Class {
	said, ok := errors.AsType[*kerr.Error](err)
	if !ok {
		return resilience.ClassOf(err)
	}
	if known, ok := answers[said]; ok {
		return known.class
	}
	return resilience.Unknown
}
