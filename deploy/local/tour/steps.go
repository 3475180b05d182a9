package tour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

// Sizes of the steps.
const (
	forecastChanges = 20 // entries that change in Clari
	latePeople      = 20 // people of whom an older version arrives after a newer one
	webhookPeople   = 50 // people whose change comes by webhook and by poll
)

func (t *Tour) fullExport(ctx context.Context) (string, error) {
	work, workCtx := errgroup.WithContext(ctx)
	for _, producer := range []string{stack.ForecastProducer, stack.PeopleProducer} {
		work.Go(func() error {
			_, err := t.stack.Run(workCtx, "", producer, "--once")
			return err
		})
	}
	if err := errors.Join(work.Wait(), t.settle(ctx)); err != nil {
		return "", err
	}
	values, err := t.forecastValues(ctx)
	if err != nil {
		return "", err
	}
	people, err := t.peopleStats(ctx)
	if err != nil {
		return "", err
	}
	var quarters int64
	if err := t.numbers(ctx, "SELECT uniqExact(time_period_id) FROM forecast", &quarters); err != nil {
		return "", err
	}
	f, p := t.counts["forecast"], t.counts["people"]
	return fmt.Sprintf("%d forecast values of %d quarters and %d people, each once", f.Rows, quarters, p.Rows), errors.Join(
		equal("quarters", quarters, 5),
		equal("rows of forecast against Clari", f.Rows, values), equal("records on the forecast topic", f.Published, values),
		equal("rows of people against Salesloft", p.Rows, int64(people.People)), equal("records on the people topic", p.Published, int64(people.People)))
}

func (t *Tour) reExport(ctx context.Context) (string, error) {
	before := t.counts
	if _, err := t.stack.Run(ctx, "", stack.ForecastProducer, "--once"); err != nil {
		return "", err
	}
	if _, err := t.stack.Run(ctx, "", stack.PeopleProducer, "--once"); err != nil {
		return "", err
	}
	if err := t.settle(ctx); err != nil {
		return "", err
	}
	runs := t.counts["export_runs"].Rows - before["export_runs"].Rows
	return fmt.Sprintf("0 events added, and %d export runs say so", runs), errors.Join(
		equal("records on the forecast topic", t.counts["forecast"].Published, before["forecast"].Published),
		equal("records on the people topic", t.counts["people"].Published, before["people"].Published),
		equal("further export runs", runs, 6))
}

// outOfOrder changes forecasts, and lets an older version of some people come
// after a newer one.
func (t *Tour) outOfOrder(ctx context.Context) (string, error) {
	before := t.counts
	changes, err := t.changeForecasts(ctx, forecastChanges)
	if err != nil {
		return "", err
	}
	if _, err := t.stack.Run(ctx, "", stack.ForecastProducer, "--once"); err != nil {
		return "", err
	}
	if _, err := t.stack.Start(ctx, stack.PeopleProducer); err != nil {
		return "", err
	}
	ids, err := t.lateVersions(ctx)
	if err != nil {
		return "", err
	}
	if err := t.settle(ctx); err != nil {
		return "", err
	}
	list := join(ids)
	var versions, older, published int64
	err = errors.Join(
		t.numbers(ctx, lastPublished, &published),
		t.numbers(ctx, "SELECT uniqExact(event_id) FROM people_history WHERE person_id IN ("+list+")", &versions),
		t.numbers(ctx, "SELECT count() FROM people AS p INNER JOIN (SELECT person_id, max(updated_at) AS newest FROM people_history GROUP BY person_id) AS h USING (person_id) WHERE p.updated_at < h.newest", &older))
	if err != nil {
		return "", err
	}
	added := t.counts["forecast"].Unique - before["forecast"].Unique
	return fmt.Sprintf("%d changed forecast entries show; %d people whose older version came last show the newest", len(changes), len(ids)), errors.Join(
		equal("events against the producer's account", added, published), t.sameForecasts(ctx, changes),
		equal("further forecast keys", t.counts["forecast"].Rows, before["forecast"].Rows),
		equal("versions of those people", versions, int64(3*len(ids))),
		equal("people who show an older version", older, 0), t.samePeople(ctx))
}

// lastPublished is what forecast-producer says that its last cycle published.
const lastPublished = "SELECT sum(rows_published) FROM export_runs WHERE source = 'clari' GROUP BY correlation_id ORDER BY max(completed_at) DESC LIMIT 1"

// sameForecasts looks each changed value up in ClickHouse.
func (t *Tour) sameForecasts(ctx context.Context, changes []claritest.Change) error {
	values := make([]string, len(changes))
	for i, c := range changes {
		values[i] = fmt.Sprintf("('%s','%s','%s','%s','%s',toDecimal256('%s', 18))", c.TimePeriodID, c.TimeFrameID, c.UserID, c.FieldID, c.Kind, c.Value)
	}
	var found int64
	if err := t.numbers(ctx, "SELECT count() FROM forecast WHERE (time_period_id, time_frame_id, user_id, field_id, kind, assumeNotNull(value)) IN ("+
		strings.Join(values, ", ")+")", &found); err != nil {
		return err
	}
	return equal("changed values that ClickHouse shows", found, int64(len(changes)))
}

// lateVersions changes people twice: the first change is known to nobody until
// its webhook arrives, after the one of the second.
func (t *Tour) lateVersions(ctx context.Context) ([]int64, error) {
	ids, err := t.unchangedPeople(ctx, latePeople)
	if err != nil {
		return nil, err
	}
	if _, err := t.changePeople(ctx, salesloftest.Change{IDs: ids, Quiet: true}); err != nil {
		return nil, err
	}
	first, err := t.people(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := t.changePeople(ctx, salesloftest.Change{IDs: ids}); err != nil {
		return nil, err
	}
	if err := t.delivered(ctx); err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := t.deliver(ctx, "person_updated", first[id]); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// unchangedPeople returns the IDs of people of whom ClickHouse has one version.
func (t *Tour) unchangedPeople(ctx context.Context, n int) ([]int64, error) {
	answer, err := t.query(ctx, fmt.Sprintf("SELECT person_id FROM people_history GROUP BY person_id HAVING uniqExact(event_id) = 1 ORDER BY person_id LIMIT %d", n))
	if err != nil {
		return nil, err
	}
	var ids []int64
	for field := range strings.FieldsSeq(answer) {
		id, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("ClickHouse answered %q where an ID was expected", field)
		}
		ids = append(ids, id)
	}
	return ids, equal("people who have not changed", len(ids), n)
}

// delivered waits until Salesloft's webhooks have been taken.
func (t *Tour) delivered(ctx context.Context) error {
	return poll(ctx, "webhooks on their way", func() (int64, error) {
		stats, err := t.peopleStats(ctx)
		return int64(stats.Webhooks.Pending + stats.Webhooks.Lost), err
	})
}

func (t *Tour) webhookAndPoll(ctx context.Context) (string, error) {
	if err := t.settle(ctx); err != nil {
		return "", err
	}
	before := t.counts["people"]
	ids, err := t.changePeople(ctx, salesloftest.Change{Count: webhookPeople})
	if err != nil {
		return "", err
	}
	if err := t.delivered(ctx); err != nil {
		return "", err
	}
	if _, err := t.stack.Stop(ctx, stack.PeopleProducer); err != nil {
		return "", err
	}
	if _, err := t.stack.Run(ctx, "", stack.PeopleProducer, "--once"); err != nil {
		return "", err
	}
	if err := t.settle(ctx); err != nil {
		return "", err
	}
	after := t.counts["people"]
	added, dropped := after.Unique-before.Unique, (after.Published-after.Unique)-(before.Published-before.Unique)
	if dropped < int64(len(ids)) {
		err = fmt.Errorf("duplicates dropped: %d, should be at least %d", dropped, len(ids))
	}
	return fmt.Sprintf("%d changes came twice, %d records more; %d events, %d duplicates dropped", len(ids), after.Published-before.Published, added, dropped), errors.Join(err,
		equal("events", added, int64(len(ids))), equal("people", after.Rows, before.Rows), t.samePeople(ctx))
}

// samePeople holds every person in ClickHouse against the source: the same
// people, each as of the same change.
func (t *Tour) samePeople(ctx context.Context) error {
	records, err := t.people(ctx)
	if err != nil {
		return err
	}
	answer, err := t.query(ctx, "SELECT person_id, email_address, toUnixTimestamp64Micro(assumeNotNull(updated_at)) AS micros FROM people_full FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0")
	if err != nil {
		return err
	}
	rows := 0
	for line := range strings.Lines(answer) {
		var row struct {
			ID     int64   `json:"person_id"`
			Email  *string `json:"email_address"`
			Micros int64   `json:"micros"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			return fmt.Errorf("reading ClickHouse's people: %w", err)
		}
		same, err := sameVersion(records[row.ID], row.Email, row.Micros)
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("person %d is not as the source has them", row.ID)
		}
		rows++
	}
	return equal("people in ClickHouse against the source", rows, len(records))
}
