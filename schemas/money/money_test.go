package money_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/schemas/money"
)

func TestParseKeepsEveryDigit(t *testing.T) {
	t.Parallel()
	for digits, want := range map[string]string{
		"0": "0", "-0": "0", "-0.0": "0", "0e999999": "0", "125000.0": "125000", "1e3": "1000", "1E+3": "1000",
		"0.1": "0.1", "-0.30000000000000004": "-0.30000000000000004", "1e-18": "0.000000000000000001",
		"12345678901234567890.123456789012345678":  "12345678901234567890.123456789012345678",
		"-99999999999999999999.999999999999999999": "-99999999999999999999.999999999999999999",
		// Residues of floating point, beyond the 18th decimal.
		"2.9103830456733704e-11": "0.00000000002910383", "0.0012345678901234567": "0.001234567890123457",
		"1e-19": "0", "0.0000000000000000015": "0.000000000000000002", "0.0000000000000000025": "0.000000000000000002",
	} {
		a, err := money.Parse(digits)
		require.NoError(t, err, digits)
		require.Equal(t, want, a.String())
		require.True(t, a.Valid())
	}
}

func TestParseRefusesWhatIsNoAmount(t *testing.T) {
	t.Parallel()
	for _, digits := range []string{
		"100000000000000000000", "99999999999999999999.9999999999999999999", "1e999999999", "1e-999999999", strings.Repeat("1", 100),
	} {
		_, err := money.Parse(digits)
		require.ErrorIs(t, err, money.ErrRange, digits)
	}
	for _, digits := range []string{"", "abc", "NaN", "Infinity", "1_000", "+1", " 1", "1,5", "0x10"} {
		_, err := money.Parse(digits)
		require.ErrorIs(t, err, money.ErrDigits, digits)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0", "-1.5", "1e3", "99999999999999999999.999999999999999999", "1e-18", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, digits string) {
		a, err := money.Parse(digits)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(digits)
		require.True(t, ok)
		got := new(big.Rat).SetFrac(a.Unscaled(), new(big.Int).Exp(big.NewInt(10), big.NewInt(money.Scale), nil))
		off := new(big.Rat).Sub(want, got)
		require.LessOrEqual(t, off.Abs(off).Cmp(big.NewRat(1, 2_000_000_000_000_000_000)), 0, "parsed %s as %s", digits, a)
	})
}
