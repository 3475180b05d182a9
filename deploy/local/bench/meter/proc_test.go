package meter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseStatIsNotFooledByTheName(t *testing.T) {
	t.Parallel()
	const rest = " S 1 4242 4242 0 -1 4194560 9870 0 12 0 731 269 5 7 20 0 14 0 8812 1293 411 18446744073709551615"
	for _, name := range []string{"(forecast-consum)", "(a (b) c)", "(12 34)", "())))"} {
		used, err := parseStat([]byte("4242 " + name + rest))
		require.NoError(t, err)
		require.Equal(t, 10*time.Second, used, name)
	}
	for _, stat := range []string{"", "4242", "4242 (x", "4242 (x) S 1 2", "4242 (x) S 1 4242 4242 0 -1 4194560 9870 0 12 0 many 269"} {
		_, err := parseStat([]byte(stat))
		require.Error(t, err, stat)
	}
}
