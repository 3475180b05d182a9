package consumers_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/exportrun"
	"github.com/revstream/revstream/consumers/forecast"
	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/consumers/people"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	exportrunschema "github.com/revstream/revstream/schemas/exportrun"
	forecastschema "github.com/revstream/revstream/schemas/forecast"
	peopleschema "github.com/revstream/revstream/schemas/people"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

// TestTheCatalogueKnowsTheTables: what the catalogue of topics says of tables and keys is what consumers fill, what the
// tables are sorted by, and what events are keyed by.
func TestTheCatalogueKnowsTheTables(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	filled := map[string]string{schemas.ForecastTopic: forecast.Tables, schemas.PeopleTopic: people.Tables, schemas.ExportRunsTopic: exportrun.Tables}
	events := map[string]event.Event{
		schemas.ForecastTopic: &forecastschema.Forecast{
			ForecastID: "f", TimePeriodID: "2026_Q1", TimeFrameID: "TF:2026-01-05", UserID: "280627:00E4", FieldID: "fc_net", Kind: "quota",
		},
		schemas.PeopleTopic:     &peopleschema.Person{PersonID: 7},
		schemas.ExportRunsTopic: &exportrunschema.ExportRun{RunID: "clari:1"},
	}
	values := map[string][]string{
		schemas.ForecastTopic: {"f", "2026_Q1", "TF:2026-01-05", "280627:00E4", "fc_net", "quota"}, schemas.PeopleTopic: {"7"}, schemas.ExportRunsTopic: {"clari:1"},
	}
	topics, err := schemas.Topics()
	require.NoError(t, err)
	for _, topic := range topics {
		require.Equal(t, filled[topic.Name], topic.Table, topic.Name)
		if topic.Table == "" {
			continue
		}
		sorted := pipelinetest.SQL(t, url, "SELECT sorting_key FROM system.tables WHERE database = currentDatabase() AND name = '"+topic.Table+"_current'")
		require.Equal(t, strings.Trim(sorted, "()"), strings.Join(topic.KeyColumns, ", "), topic.Name)
		got, ok := topic.KeyValues(events[topic.Name].Key())
		require.True(t, ok)
		require.Equal(t, values[topic.Name], got)
		_, ok = topic.KeyValues("one|more|value|than|the|longest|has")
		require.False(t, ok, topic.Name)
	}
}
