package kafka

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoClusterIDLooksLikeAnOption: one of 64 did, and its nodes could not be formatted.
func TestNoClusterIDLooksLikeAnOption(t *testing.T) {
	t.Parallel()
	for range 10_000 {
		require.Regexp(t, `^[A-Za-z0-9_][A-Za-z0-9_-]{21}$`, newID())
	}
}
