package tour

import (
	"context"
	"errors"
	"fmt"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

const (
	quotaLooks  = 3    // for which Clari's quota is used up
	hungAfter   = "2s" // a job has hung, in the tour
	quietPeople = 30   // who change without a webhook while the token expires
)

// troubles lets the sources do what they do in production: an access token expires, the export quota is used up for a while, and
// an export job never ends.
func (t *Tour) troubles(ctx context.Context) (string, error) {
	clariBefore, peopleBefore, err := t.sourceStats(ctx)
	if err != nil {
		return "", err
	}
	none := 0
	err = errors.Join(
		call(ctx, t.salesloft("/_sim/expire-tokens"), struct{}{}, nil),
		call(ctx, t.clari("/_sim/quota"), claritest.Quota{AvailableMonthlyQuota: &none, Requests: quotaLooks}, nil),
		call(ctx, t.clari("/_sim/fail-jobs"), map[string]any{"jobs": 1, "status": "STARTED"}, nil))
	if err != nil {
		return "", err
	}
	if _, err := t.changePeople(ctx, salesloftest.Change{Count: quietPeople, Quiet: true}); err != nil {
		return "", err
	}
	changes, err := t.changeForecasts(ctx, forecastChanges)
	if err != nil {
		return "", err
	}
	if _, err := t.stack.Run(ctx, "", stack.PeopleProducer, "--once"); err != nil {
		return "", err
	}
	if _, err := t.stack.Run(ctx, "", stack.ForecastProducer, "--once", "--job-timeout="+hungAfter); err != nil {
		return "", err
	}
	if err := t.settle(ctx); err != nil {
		return "", err
	}
	clariAfter, peopleAfter, err := t.sourceStats(ctx)
	if err != nil {
		return "", err
	}
	var again int64
	if err := t.numbers(ctx, "SELECT count() FROM export_runs WHERE jobs = 2 AND outcome = 'SUCCEEDED'", &again); err != nil {
		return "", err
	}
	grew := func(route string) int { return clariAfter.Requests[route] - clariBefore.Requests[route] }
	waited := grew("GET /v4/admin/limits") - grew("POST /v4/export/forecast/{forecastId}")
	return fmt.Sprintf("1 token renewed; %d looks at a used-up quota waited out; the job that hung was cancelled after %s and asked for again; %d forecast values and %d people landed",
			waited, hungAfter, len(changes), quietPeople), errors.Join(
			equal("refused tokens", peopleAfter.Unauthorized-peopleBefore.Unauthorized, 1),
			equal("tokens issued", peopleAfter.TokensIssued-peopleBefore.TokensIssued, 1),
			equal("looks at a used-up quota", waited, quotaLooks),
			equal("cancelled jobs", clariAfter.Jobs["CANCELLED"]-clariBefore.Jobs["CANCELLED"], 1),
			equal("export runs that took two jobs", again, 1),
			t.sameForecasts(ctx, changes), t.samePeople(ctx))
}

func (t *Tour) sourceStats(ctx context.Context) (claritest.Stats, salesloftest.Stats, error) {
	var clari claritest.Stats
	err := call(ctx, t.clari("/_sim/stats"), nil, &clari)
	people, peopleErr := t.peopleStats(ctx)
	return clari, people, errors.Join(err, peopleErr)
}
