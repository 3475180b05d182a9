package verify_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/deploy/local/faults/plan"
	"github.com/revstream/revstream/deploy/local/faults/verify"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

// TestRealConsumersPass: what the consumers make of a plan is what the model says, before the repairs, while some letters
// are replayed in vain, and after the repairs, which are the replayer's.
func TestRealConsumersPass(t *testing.T) {
	t.Parallel()
	needKcat(t)
	w := newWorld(t, 6000)
	w.load()
	w.consume()
	committed := w.drained()

	rows := w.warehouse(false)
	require.Zero(t, rows.Wrong(), "%+v", rows)
	sound := 0
	for _, topic := range w.model.Topics {
		for _, f := range topic.Facts {
			if f.Kind == plan.Sound {
				sound++
			}
		}
	}
	require.Equal(t, sound, rows.History)
	mail := w.letters(false)
	require.Zero(t, mail.Wrong(), "%+v", mail)
	require.Equal(t, w.model.Roles[plan.Poisoned], mail.Poison)
	require.Equal(t, mail.Poison, mail.Letters)
	require.Zero(t, mail.Copies)
	sampler := verify.NewSampler(w.brokers, w.url, w.model)
	violations, err := sampler.Settled(t.Context(), committed)
	require.NoError(t, err)
	require.Empty(t, violations)
	require.EqualValues(t, w.plan.Events, sampler.Checked())

	// Nothing is repaired yet, so the same poison comes back from other offsets, behind the markers of a transaction.
	w.replay(schemas.ForecastTopic, wire.ReasonUnknownSchema, "")
	w.replay(schemas.PeopleTopic, wire.ReasonValidation, "")
	committed = w.drained()
	violations, err = sampler.Settled(t.Context(), committed)
	require.NoError(t, err)
	require.Empty(t, violations)
	more := w.letters(false)
	require.Zero(t, more.Wrong(), "%+v", more)
	require.Greater(t, more.Letters, mail.Letters)
	require.NotZero(t, w.letters(true).Open.Count, "nothing is repaired")
	require.NotZero(t, w.warehouse(true).Lost.Count, "nothing is repaired")

	require.Equal(t, w.plan.Forecast.Evolved, w.register(schemas.ForecastTopic, plan.EvolvedSchema(schemas.ForecastTopic)))
	require.Equal(t, w.plan.People.Evolved, w.register(schemas.PeopleTopic, plan.EvolvedSchema(schemas.PeopleTopic)))
	for _, topic := range plan.Topics() {
		w.replay(topic, wire.ReasonUnknownSchema, "")
		w.replay(topic, wire.ReasonValidation, plan.Patch(topic))
	}
	committed = w.drained()
	rows = w.warehouse(true)
	require.Zero(t, rows.Wrong(), "%+v", rows)
	require.Equal(t, len(w.model.Topics[schemas.ForecastTopic].Facts)+len(w.model.Topics[schemas.PeopleTopic].Facts), rows.History)
	mail = w.letters(true)
	require.Zero(t, mail.Wrong(), "%+v", mail)
	violations, err = sampler.Settled(t.Context(), committed)
	require.NoError(t, err)
	require.Empty(t, violations)
}
