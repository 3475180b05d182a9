// Package tour owns the scripted way through the pipeline that `make demo` shows: each step does what a user would meet, and
// checks what came of it.
//
// Every number is read back from Kafka or from ClickHouse, and held against what the simulators say that they have.
package tour

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/schemas"
)

// Tour is one way through a stack. It is used once.
type Tour struct {
	stack *stack.Stack
	out   io.Writer
	start time.Time

	kafka  *kgo.Client
	counts counts // as last read
}

// New makes a tour through a stack of which nothing runs yet. It prints to out.
func New(s *stack.Stack, out io.Writer) *Tour {
	return &Tour{stack: s, out: out}
}

// step is a part of the tour. It returns what happened, in a line.
type step struct {
	name string
	do   func(context.Context) (string, error)
}

// Run goes through all steps and returns the result, or the first thing that
// is not as it should be. What runs afterwards, the caller stops.
func (t *Tour) Run(ctx context.Context) (Result, error) {
	t.start = time.Now()
	var err error
	if t.kafka, err = kgo.NewClient(kgo.SeedBrokers(t.stack.Config().Addrs.Broker)); err != nil {
		return Result{}, fmt.Errorf("configuring the Kafka client: %w", err)
	}
	defer t.kafka.Close()
	for _, s := range []step{
		{"start broker, registry, ClickHouse and the two sources", t.begin},
		{"full export: five quarters and all people", t.fullExport},
		{"re-export: must add nothing", t.reExport},
		{"a token that expires, a quota that is used up, a job that hangs", t.troubles},
		{"updates that arrive out of order", t.outOfOrder},
		{"a webhook and a poll of one change", t.webhookAndPoll},
		{"a corrupt record, and one that fails validation", t.poison},
		{"repair and replay the one that can be repaired", t.replay},
		{"a person cuts the largest call of the week", t.anomaly},
		{"what BI was promised", t.contracts},
		{"what the sources handed over against what the tables have", t.reconcile},
	} {
		fmt.Fprintf(t.out, "%5.1fs  %s …\n", time.Since(t.start).Seconds(), s.name)
		said, err := s.do(ctx)
		if err != nil {
			return Result{}, fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(t.out, "        ✓ %s\n", said)
	}
	return t.conclude(ctx)
}

// begin starts what the tour needs. The producers run when the tour says so.
func (t *Tour) begin(ctx context.Context) (string, error) {
	if _, err := t.stack.Start(ctx, stack.Surroundings...); err != nil {
		return "", err
	}
	if err := t.stack.Prepare(ctx); err != nil {
		return "", err
	}
	if _, err := t.stack.Start(ctx, stack.ForecastConsumer, stack.PeopleConsumer); err != nil {
		return "", err
	}
	version, err := t.query(ctx, "SELECT version()")
	if err != nil {
		return "", err
	}
	topics, err := schemas.Topics()
	return fmt.Sprintf("ClickHouse %s; %d topics; both consumers wait for work", version, len(topics)), err
}
