package money_test

import (
	"math/big"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
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

// TestValidEndsWhereThePrecisionDoes: 128 bits hold more than 38 digits.
func TestValidEndsWhereThePrecisionDoes(t *testing.T) {
	t.Parallel()
	end := new(big.Int).Exp(big.NewInt(10), big.NewInt(money.Precision), nil)
	for _, c := range []struct {
		beyond int64
		valid  bool
	}{{-1, true}, {0, false}, {1, false}} {
		n := new(big.Int).Add(end, big.NewInt(c.beyond))
		for _, n := range []*big.Int{n, new(big.Int).Neg(n)} {
			a := amount(n)
			require.Equal(t, c.valid, a.Valid(), n)
			require.Equal(t, n.String(), a.Unscaled().String())
		}
	}
	require.False(t, money.Amount{0x80}.Valid(), "the least of 128 bits, which has no opposite")
}

// amount is an unscaled number's 128 bits of two's complement.
func amount(n *big.Int) (a money.Amount) {
	bits := new(big.Int).And(n, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1)))
	bits.FillBytes(a[:])
	return a
}

//nolint:paralleltest // allocations are the whole process's
func TestAmountsCostNoMemory(t *testing.T) {
	for _, digits := range []string{"125000.50", "-2.9103830456733704e-11", "x", "1e999"} {
		require.Zero(t, testing.AllocsPerRun(100, func() {
			a, _ := money.Parse(digits)
			if !a.Valid() {
				panic(digits)
			}
		}), digits)
	}
}

// The shapes of a JSON number, in the form that Parse is held to.
var (
	numberShape = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
	zeroShape   = regexp.MustCompile(`^-?0+(\.0+)?([eE]|$)`)
	modestShape = regexp.MustCompile(`^[^eE]{1,64}([eE][+-]?[0-9]{1,3})?$`)
)

// parse is Parse in slow: by regular expressions, and numbers of any length.
func parse(digits string) (money.Amount, error) {
	switch {
	case !numberShape.MatchString(digits):
		return money.Amount{}, money.ErrDigits
	case zeroShape.MatchString(digits):
		return money.Amount{}, nil
	case !modestShape.MatchString(digits):
		return money.Amount{}, money.ErrRange
	}
	n := decimal.RequireFromString(digits).RoundBank(money.Scale).Shift(money.Scale).BigInt()
	if len(new(big.Int).Abs(n).String()) > money.Precision {
		return money.Amount{}, money.ErrRange
	}
	return amount(n), nil
}

func requireSame(t *testing.T, digits string) {
	t.Helper()
	want, wantErr := parse(digits)
	a, err := money.Parse(digits)
	require.Equal(t, wantErr, err, digits)
	require.Equal(t, want, a, digits)
}

// TestParseIsTheSlowOne tries numbers of all shapes: lengths about the limits of
// mantissa and exponent, digits about a half behind the 18th decimal.
func TestParseIsTheSlowOne(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	run := func(longest int, digits ...string) string {
		var b strings.Builder
		for range rng.IntN(longest + 1) {
			b.WriteString(pick(digits...))
		}
		return b.String()
	}
	all := strings.Split("0123456789", "")
	for range 50_000 {
		digits := pick("", "", "-", "+") + run(oneOf(rng, 3, 24, 66), pick("0", "9", "5"), pick(all...))
		if rng.IntN(4) > 0 {
			digits += "." + run(oneOf(rng, 3, 20, 66), "0", pick("0", "5", "9"), pick(all...))
		}
		if rng.IntN(3) == 0 {
			digits += pick("e", "E") + pick("", "+", "-") + run(oneOf(rng, 2, 3, 4), all...)
		}
		requireSame(t, digits)
	}
}

func oneOf(rng *rand.Rand, from ...int) int { return from[rng.IntN(len(from))] }

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"0", "-1.5", "1e3", "99999999999999999999.999999999999999999", "1e-18", "x", "-0.000e99999", "1e0003", "5e-19", "15e-19", "1.e1", "1\n", "-",
		strings.Repeat("0", 70) + "1", strings.Repeat("0", 63) + "1", "1" + strings.Repeat("0", 20), "0." + strings.Repeat("9", 63), "0E10000000000000000000",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, digits string) {
		requireSame(t, digits)
		a, err := money.Parse(digits)
		if err != nil || zeroShape.MatchString(digits) { // big.Rat reads no 0e10000000000000000000
			return
		}
		want, ok := new(big.Rat).SetString(digits)
		require.True(t, ok)
		got := new(big.Rat).SetFrac(a.Unscaled(), new(big.Int).Exp(big.NewInt(10), big.NewInt(money.Scale), nil))
		off := new(big.Rat).Sub(want, got)
		require.LessOrEqual(t, off.Abs(off).Cmp(big.NewRat(1, 2_000_000_000_000_000_000)), 0, "parsed %s as %s", digits, a)
	})
}
