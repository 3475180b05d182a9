package anomaly_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/anomaly"
)

func TestRulesDecideByFieldKindAndCurrency(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := defaults()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
floors: {JPY: 150000}
rules:
  - {kind: crm_closed, ignore: true}
  - {kind: quota, field_id: commit, percent: 5}
  - {kind: quota, field_id: another, ignore: true}
  - {currency: CHF, floor: 5000}
`), 0o600))
	var err error
	cfg.Rules, err = anomaly.ReadRules(path)
	require.NoError(t, err)
	with := func(amount string) []version {
		return []version{
			{user: "closed", kind: "crm_closed", amount: amount}, {user: "quota", kind: "quota", amount: amount}, {user: "yen", currency: "JPY", amount: amount},
			{user: "franc", currency: "CHF", amount: amount}, {user: "dollar", amount: amount},
		}
	}
	w.put(with("10000")...)
	require.Empty(t, w.run(cfg))
	w.put(with("11000")...)
	require.Equal(t, []string{"user quota quota 10000>11000"}, w.run(cfg))
	w.put(with("15000")...)
	require.Equal(t, []string{"user dollar forecast 11000>15000", "user quota quota 11000>15000"}, w.run(cfg))
	w.put(with("20000")...)
	require.Equal(t, []string{"user dollar forecast 15000>20000", "user franc forecast 15000>20000", "user quota quota 15000>20000"}, w.run(cfg))
	w.put(with("170000")...)
	require.Equal(t, []string{"user dollar forecast 20000>170000", "user franc forecast 20000>170000", "user quota quota 20000>170000", "user yen forecast 20000>170000"}, w.run(cfg))
}

func TestReadRulesSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	none, err := anomaly.ReadRules("")
	require.NoError(t, err)
	require.Empty(t, none)
	path := filepath.Join(t.TempDir(), "rules.yaml")
	_, err = anomaly.ReadRules(path)
	require.ErrorContains(t, err, "ANOMALY_RULES")
	for text, want := range map[string]string{"rules: [{percnt: 5}]": "percnt", "floors: {USD: many}": path} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err = anomaly.ReadRules(path)
		require.ErrorContains(t, err, want)
	}
}
