package clickhousesink

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/resilience"
)

// TestTheCodesAreClickHouses: a number under a wrong name is another error.
func TestTheCodesAreClickHouses(t *testing.T) {
	t.Parallel()
	var want []string
	var numbers []string
	for number, c := range codes {
		require.NotEmpty(t, c.why, c.name)
		require.Contains(t, []resilience.Class{rejects, resilience.Passes, resilience.Operator}, c.class, c.name)
		numbers = append(numbers, fmt.Sprint(number))
		want = append(want, fmt.Sprint(number, "\t", c.name))
	}
	slices.Sort(want)
	got := strings.Split(pipelinetest.SQL(t, pipelinetest.ClickHouse(t),
		"SELECT toString(arrayJoin(["+strings.Join(numbers, ",")+"]) AS number), errorCodeToName(number) ORDER BY 1"), "\n")
	slices.Sort(got)
	require.Equal(t, want, got)
}

// TestOnlyWhatRejectsIsPoison; a code that no table has is an outage of which it is said that nobody knows it.
func TestOnlyWhatRejectsIsPoison(t *testing.T) {
	t.Parallel()
	for number := int32(1); number < 2000; number++ {
		err := &failure{&clickhouse.Exception{Code: number}}
		known, ok := codes[number]
		require.Equal(t, known.class == rejects, rejection(err) != "", number)
		if !ok {
			require.Equal(t, resilience.Unknown, resilience.ClassOf(fmt.Errorf("inserting: %w", err)), number)
		} else {
			require.Equal(t, known.class, resilience.ClassOf(err), number)
		}
	}
}
