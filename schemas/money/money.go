// Package money owns the decimal that carries amounts from the source's digits to the warehouse, never through a float.
package money

import (
	"encoding/binary"
	"errors"
	"math/big"
	"math/bits"

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

// uint128 is the magnitude of an amount times 10^18.
type uint128 struct{ hi, lo uint64 }

// limit is 10^Precision.
var limit = uint128{0x4b3b4ca85a86c47a, 0x098a224000000000}

func (u uint128) less(v uint128) bool { return u.hi < v.hi || u.hi == v.hi && u.lo < v.lo }

// mulAdd returns u*m + a, for products below 2^128.
func (u uint128) mulAdd(m, a uint64) uint128 {
	hi, lo := bits.Mul64(u.lo, m)
	lo, carry := bits.Add64(lo, a, 0)
	return uint128{u.hi*m + hi + carry, lo}
}

// negated returns the two's complement.
func (u uint128) negated() uint128 {
	lo, borrow := bits.Sub64(0, u.lo, 0)
	hi, _ := bits.Sub64(0, u.hi, borrow)
	return uint128{hi, lo}
}

// words returns the amount's two's complement.
func (a Amount) words() uint128 {
	return uint128{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
}

// magnitude returns the amount's distance from 0, and on which side of it it is.
func (a Amount) magnitude() (u uint128, negative bool) {
	u = a.words()
	if a[0]&0x80 != 0 {
		return u.negated(), true
	}
	return u, false
}

// Unscaled returns the amount times 10^18.
func (a Amount) Unscaled() *big.Int {
	u, negative := a.magnitude()
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], u.hi)
	binary.BigEndian.PutUint64(b[8:], u.lo)
	n := new(big.Int).SetBytes(b[:])
	if negative {
		n.Neg(n)
	}
	return n
}

// Decimal returns the amount for arithmetic and for database drivers.
func (a Amount) Decimal() decimal.Decimal { return decimal.NewFromBigInt(a.Unscaled(), -Scale) }

// Valid says whether the amount is within decimal(38, 18): 128 bits hold more.
func (a Amount) Valid() bool {
	u, _ := a.magnitude()
	return u.less(limit)
}

// String is the amount in plain digits without trailing zeros.
func (a Amount) String() string { return a.Decimal().String() }
