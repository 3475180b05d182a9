package desk

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// ErrStopped is returned by a run that has stopped by itself, as too many of its letters came back.
var ErrStopped = errors.New("too many of the replayed letters fail again")

// look finds out what consumers made of the letters so far. A run whose letters come back is one whose cause has not
// been mended: it stops.
func (r *run) look(ctx context.Context) error {
	r.judged = r.desk.pace.now()
	if r.judge == nil {
		return nil
	}
	judged, returned, err := r.judge.poll(ctx)
	switch {
	case errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("looking for what consumers made of the letters, which needs DESCRIBE on their groups (a run that never stops by itself does not look): %w", err)
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.desk.logger.WarnContext(ctx, "what consumers made of the letters is not known", "error", err)
		return nil
	}
	r.report.Judged, r.report.Returned = judged, returned
	if judged >= r.order.StopAfter && float64(returned) > r.order.StopShare*float64(judged) {
		return fmt.Errorf("%w: %d of %d", ErrStopped, returned, judged)
	}
	return nil
}
