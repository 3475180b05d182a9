package contracts_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/exportrun"
	"github.com/revstream/revstream/consumers/forecast"
	"github.com/revstream/revstream/consumers/people"
	"github.com/revstream/revstream/pipeline/table"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/compat"
)

// TestWeDeclareWhatWeRead: whoever changes a field is told of the tables that it fills.
func TestWeDeclareWhatWeRead(t *testing.T) {
	t.Parallel()
	subscribers, err := compat.Subscribers(schemas.Subscribers())
	require.NoError(t, err)
	for topic, columns := range map[string][]string{
		schemas.ForecastTopic: names(forecast.Columns), schemas.PeopleTopic: names(people.Columns), schemas.ExportRunsTopic: names(exportrun.Columns),
	} {
		i := slices.IndexFunc(subscribers, func(s compat.Subscriber) bool { return s.Topic == topic && s.Owner == "revenue-platform" })
		require.GreaterOrEqual(t, i, 0, topic)
		require.ElementsMatch(t, columns, subscribers[i].Fields, topic)
	}
}

// names are those of the fields that columns are made of.
func names[E any](columns []table.Column[E]) []string {
	var fields []string
	for _, c := range columns {
		if c.Name == "is_deleted" {
			c.Name = "operation"
		}
		fields = append(fields, c.Name)
	}
	return fields
}
