// Package money owns the decimal that carries amounts from the source's digits to the warehouse, never through a float.
package money

import (
	"errors"
	"math/big"
	"regexp"

	"github.com/shopspring/decimal"
)

// Precision and Scale of every amount: decimal(38, 18), with 20 digits before
// the point. What a source prints behind the 18th decimal is the residue of its
// own floating point, not money.
const (
	Precision = 38
	Scale     = 18
)

// Amount is a decimal(38, 18) as Avro and ClickHouse hold it: the amount times
// 10^18 as a 128-bit two's complement integer, big-endian. The zero value is 0.
type Amount [16]byte

// ErrDigits and ErrRange are returned by Parse.
var (
	ErrDigits = errors.New("amount is not a decimal number")
	ErrRange  = errors.New("amount does not fit decimal(38,18)")
)

var (
	limit   = new(big.Int).Exp(big.NewInt(10), big.NewInt(Precision), nil)
	modulus = new(big.Int).Lsh(big.NewInt(1), 128)
)

// The shapes of a JSON number. A modest one has an exponent so short that
// scaling costs nothing: 1e999999999 would fill the memory.
var (
	number = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
	zero   = regexp.MustCompile(`^-?0+(\.0+)?([eE]|$)`)
	modest = regexp.MustCompile(`^[^eE]{1,64}([eE][+-]?[0-9]{1,3})?$`)
)

// Parse reads the digits of a JSON number, exactly to the 18th decimal; further
// ones are rounded half to even, as refusing the amount would leave an older one
// in its place. An amount that is too large is ErrRange.
func Parse(digits string) (Amount, error) {
	switch {
	case !number.MatchString(digits):
		return Amount{}, ErrDigits
	case zero.MatchString(digits):
		return Amount{}, nil
	case !modest.MatchString(digits):
		return Amount{}, ErrRange
	}
	d, err := decimal.NewFromString(digits)
	if err != nil {
		return Amount{}, ErrDigits
	}
	n := d.RoundBank(Scale).Shift(Scale).BigInt()
	if n.CmpAbs(limit) >= 0 {
		return Amount{}, ErrRange
	}
	if n.Sign() < 0 {
		n.Add(n, modulus)
	}
	var a Amount
	n.FillBytes(a[:])
	return a, nil
}

// Unscaled returns the amount times 10^18.
func (a Amount) Unscaled() *big.Int {
	n := new(big.Int).SetBytes(a[:])
	if a[0]&0x80 != 0 {
		n.Sub(n, modulus)
	}
	return n
}

// Decimal returns the amount for arithmetic and for database drivers.
func (a Amount) Decimal() decimal.Decimal { return decimal.NewFromBigInt(a.Unscaled(), -Scale) }

// Valid says whether the amount is within decimal(38, 18): 128 bits hold more.
func (a Amount) Valid() bool { return a.Unscaled().CmpAbs(limit) < 0 }

// String is the amount in plain digits without trailing zeros.
func (a Amount) String() string { return a.Decimal().String() }
