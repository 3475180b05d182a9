package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/resilience"
)

type stated struct{ class resilience.Class }

func (stated) Error() string             { return "stated" }
func (s stated) Class() resilience.Class { return s.class }

func TestClassOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want resilience.Class
	}{
		{errors.New("a driver's"), resilience.Unknown},
		{fmt.Errorf("dialing: %w", &net.OpError{Op: "dial", Err: errDown}), resilience.Passes},
		{fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), resilience.Passes},
		{errors.Join(errDown, context.DeadlineExceeded), resilience.Passes},
		{fmt.Errorf("inserting: %w", stated{resilience.Operator}), resilience.Operator},
		{fmt.Errorf("inserting: %w", stated{resilience.Unknown}), resilience.Unknown},
	} {
		require.Equal(t, c.want, resilience.ClassOf(c.err), c.err)
	}
}
