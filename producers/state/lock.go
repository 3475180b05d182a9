package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/resilience"
)

const (
	lockProtocol   = "revstream-lock"
	lockSession    = 10 * time.Second // of silence, after which a holder has lost the lock
	lockHeartbeat  = time.Second      // between two signs of life; the holder notices no sooner that others have come
	lockRetry      = 250 * time.Millisecond
	lockLeaveGrace = 5 * time.Second
)

// ErrLockLost is the cause of a Lock's context that ended because the brokers did not hear of this process for too long,
// and may have given the lock to another.
var ErrLockLost = errors.New("the lock was lost: the brokers did not hear of this process for too long")

// Lock is held by one process of all that use the same name of the same producer's state.
//
// It is a group at Kafka's group coordinator, without topics: who wants the lock joins the group, and the assignment says
// which member holds it. Whoever holds it says so when the group forms anew, and keeps it; else it goes to who has waited
// longest. A process that dies is thrown out after lockSession, and one that was only slow finds out at its next heartbeat:
// in between it may believe that it still holds the lock. What is done under a Lock must therefore be harmless when it is
// done twice, as everything here is: the lock saves jobs of a quota and uses of a token, it does not keep the data right.
type Lock struct {
	ctx    context.Context //nolint:containedctx // its end is what the lock has to say
	cancel context.CancelCauseFunc
	member member
	once   sync.Once
	ended  chan struct{} // closed when the heartbeats have ended
}

// Lock waits until this process holds the lock of a name, or ctx ends.
func (s *Store) Lock(ctx context.Context, name string) (*Lock, error) {
	m := member{client: s.client, group: lockGroup(s.prefix, name), since: time.Now()}
	if err := m.wait(ctx); err != nil {
		m.leave(ctx)
		return nil, fmt.Errorf("waiting for the lock %s%s: %w", s.prefix, name, err)
	}
	l := &Lock{member: m, ended: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	go l.hold()
	return l, nil
}

func lockGroup(prefix, name string) string { return lockProtocol + "." + prefix + name }

// Context ends with the one that Lock was given, with Unlock, and with ErrLockLost as its cause when the lock is lost.
func (l *Lock) Context() context.Context { return l.ctx }

// Unlock hands the lock over. It may be called more than once.
func (l *Lock) Unlock() {
	l.once.Do(func() {
		l.cancel(nil)
		<-l.ended
		l.member.leave(l.ctx)
	})
}

// hold sends signs of life until the lock is given up or lost.
func (l *Lock) hold() {
	defer close(l.ended)
	heard := time.Now()
	for resilience.Sleep(l.ctx, lockHeartbeat) == nil {
		holds, err := l.member.beat(l.ctx)
		switch {
		case l.ctx.Err() != nil:
			return
		case err == nil && holds:
			heard = time.Now()
		case err == nil, errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedInstanceID), time.Since(heard) > lockSession:
			l.cancel(ErrLockLost)
			return
		}
	}
}

// member is this process in the lock's group.
type member struct {
	client     *kgo.Client
	group      string
	id         string
	generation int32
	since      time.Time // waiting since
	holds      bool
}

// wait returns once the member holds the lock.
func (m *member) wait(ctx context.Context) error {
	holds, err := m.join(ctx)
	for {
		if err == nil && holds {
			return nil
		}
		pause := lockRetry
		if err != nil && !retriable(err) {
			return err
		}
		if err := resilience.Sleep(ctx, pause); err != nil {
			return err
		}
		if err != nil { // thrown out, or the coordinator has moved
			holds, err = m.join(ctx)
		} else {
			holds, err = m.beat(ctx)
		}
	}
}

// retriable tells what joining the group again can mend.
func retriable(err error) bool {
	for _, code := range []error{
		kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress, kerr.MemberIDRequired,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return kerr.IsRetriable(err)
}

// join takes part in forming the group, and tells whether this member holds the lock in it.
func (m *member) join(ctx context.Context) (holds bool, err error) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = m.group, m.id, lockProtocol
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(lockSession.Milliseconds()), int32(lockSession.Milliseconds())
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "v1", m.metadata()
	req.Protocols = append(req.Protocols, protocol)
	resp, err := req.RequestWith(ctx, m.client)
	if err != nil {
		return false, err
	}
	switch err := kerr.ErrorForCode(resp.ErrorCode); {
	case errors.Is(err, kerr.MemberIDRequired):
		m.id = resp.MemberID
		return m.join(ctx)
	case errors.Is(err, kerr.UnknownMemberID):
		m.id, m.holds = "", false
		return false, err
	case err != nil:
		return false, err
	}
	m.id, m.generation = resp.MemberID, resp.Generation
	return m.sync(ctx, resp)
}

// metadata is what the group's leader needs to know: whether the member holds the lock, and since when it waits.
func (m *member) metadata() []byte {
	claim := byte(0)
	if m.holds {
		claim = 1
	}
	return binary.BigEndian.AppendUint64([]byte{claim}, uint64(m.since.UnixMicro()))
}

// sync gets this member's part of the assignment, which the leader makes.
func (m *member) sync(ctx context.Context, joined *kmsg.JoinGroupResponse) (holds bool, err error) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation, req.MemberID = m.group, m.generation, m.id
	req.ProtocolType, req.Protocol = new(lockProtocol), new("v1")
	if joined.LeaderID == m.id {
		holder := pick(joined.Members)
		for _, other := range joined.Members {
			part := kmsg.NewSyncGroupRequestGroupAssignment()
			part.MemberID, part.MemberAssignment = other.MemberID, []byte{0}
			if other.MemberID == holder {
				part.MemberAssignment = []byte{1}
			}
			req.GroupAssignment = append(req.GroupAssignment, part)
		}
	}
	resp, err := req.RequestWith(ctx, m.client)
	if err != nil {
		return false, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return false, err
	}
	m.holds = slices.Equal(resp.MemberAssignment, []byte{1})
	return m.holds, nil
}

// pick returns the member that says it holds the lock, else the one that has waited longest.
func pick(members []kmsg.JoinGroupResponseMember) string {
	first := slices.MinFunc(members, func(a, b kmsg.JoinGroupResponseMember) int {
		if byClaim := int(claim(b.ProtocolMetadata)) - int(claim(a.ProtocolMetadata)); byClaim != 0 {
			return byClaim
		}
		return slices.Compare(a.ProtocolMetadata, b.ProtocolMetadata)
	})
	return first.MemberID
}

func claim(metadata []byte) byte {
	if len(metadata) == 0 {
		return 0
	}
	return metadata[0]
}

// beat sends a sign of life, and joins again where the group is to form anew.
func (m *member) beat(ctx context.Context) (holds bool, err error) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation, req.MemberID = m.group, m.generation, m.id
	resp, err := req.RequestWith(ctx, m.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	switch {
	case err == nil:
		return m.holds, nil
	case errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.IllegalGeneration):
		return m.join(ctx)
	case errors.Is(err, kerr.UnknownMemberID):
		m.id, m.holds = "", false
	}
	return false, err
}

// leave hands the lock over at once, rather than after lockSession.
func (m *member) leave(ctx context.Context) {
	if m.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockLeaveGrace)
	defer cancel()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = m.group, m.id
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID = m.id
	req.Members = append(req.Members, one)
	_, _ = req.RequestWith(ctx, m.client) // else the brokers throw the member out after lockSession
}
