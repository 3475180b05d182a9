package nemesis

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/local/faults/network"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestASeedGivesOneSchedule(t *testing.T) {
	t.Parallel()
	budget := Budget{Duration: 8 * time.Minute, Kills: 230, Links: []string{"a-kafka", "b-registry"}}
	first := Schedule(7, budget)
	require.Equal(t, first, Schedule(7, budget))
	require.NotEqual(t, first, Schedule(8, budget))
}

// TestAScheduleHoldsItsBudget: so many kills, every kind, everything healed before the end.
func TestAScheduleHoldsItsBudget(t *testing.T) {
	t.Parallel()
	for _, budget := range []Budget{
		{Duration: 8 * time.Minute, Kills: 230, Links: []string{"a", "b", "c"}},
		{Duration: 40 * time.Second, Kills: 20, Links: []string{"a", "b", "c"}},
	} {
		faults := Schedule(3, budget)
		kills, kinds := 0, map[Kind]int{}
		for _, f := range faults {
			kinds[f.Kind]++
			if strings.HasPrefix(string(f.Kind), "kill ") {
				kills++
			}
			require.GreaterOrEqual(t, f.At, time.Duration(0))
			require.LessOrEqual(t, f.At+f.For, budget.Duration-recovery)
		}
		require.Equal(t, budget.Kills, kills)
		require.True(t, slices.IsSortedFunc(faults, func(a, b Fault) int { return int(a.At - b.At) }))
		for _, kind := range []Kind{
			KillConsumer, KillProducer, KillBroker, KillController, Zombie, Churn, Network, Refusal,
			LettersRefused, LettersTooLarge, OffsetsMisplaced, PartitionsAdded,
		} {
			require.Positive(t, kinds[kind], kind)
		}
	}
}

// TestEveryTroubleComesBeforeAnyComesAgain: a run of eight minutes has every trouble on every link.
func TestEveryTroubleComesBeforeAnyComesAgain(t *testing.T) {
	t.Parallel()
	links := []string{"a", "b", "c"}
	seen := map[string]int{}
	for _, f := range Schedule(3, Budget{Duration: 8 * time.Minute, Kills: 10, Links: links}) {
		if f.Kind == Network {
			seen[f.What]++
		}
	}
	require.Len(t, seen, len(links)*len(network.Troubles))
}
