package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// MayLock returns an error if the brokers would not let this client hold a lock of a producer's. It does not take part in
// the lock: a sign of life of nobody needs the same right, and changes nothing.
func MayLock(ctx context.Context, client *kgo.Client, producer, name string) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation, req.MemberID = lockGroup(producer+"/", name), -1, "nobody"
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err == nil || errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	return fmt.Errorf("asking about the group %s: %w", req.Group, err)
}

// LockGroups is how the names of the groups begin that a producer's locks are.
func LockGroups(producer string) string { return lockGroup(producer+"/", "") }
