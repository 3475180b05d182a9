package people

import "slices"

// LockNames are those of the locks that the producer's processes hold.
func LockNames() []string { return []string{pollLock, reconcileLock, tokensLock} }

// EventTypes are the webhook events that a Receiver has a use for.
func EventTypes() []string { return slices.Clone(eventTypes) }
