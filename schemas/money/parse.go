package money

import "encoding/binary"

// What a modest number has at most: scaling one with a longer exponent would
// fill the memory, and one with a longer mantissa is no amount.
const (
	maxMantissa = 64 // characters, the sign and the point among them
	maxExponent = 3  // digits
)

// number is a JSON number taken apart.
type number struct {
	negative bool
	digits   [maxMantissa]byte // 0 to 9, without leading zeros
	length   int               // of digits; 0 for the number 0
	exponent int               // of the last digit
	modest   bool              // otherwise digits and exponent say nothing, but that it is not 0
}

// scan reads -?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?, and leaves leading zeros
// to others to refuse.
func (n *number) scan(s string) bool {
	i := 0
	if n.negative = i < len(s) && s[i] == '-'; n.negative {
		i++
	}
	whole := n.take(s[i:])
	i += whole
	if whole == 0 {
		return false
	}
	if i < len(s) && s[i] == '.' {
		decimals := n.take(s[i+1:])
		if decimals == 0 {
			return false
		}
		n.exponent = -decimals
		i += 1 + decimals
	}
	n.modest = i <= maxMantissa
	return i == len(s) || n.scanExponent(s[i:])
}

// take adds the digits that s begins with, and counts them.
func (n *number) take(s string) int {
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return i
		}
		switch {
		case n.length == 0 && c == '0':
		case n.length < len(n.digits):
			n.digits[n.length] = c - '0'
			n.length++
		}
	}
	return len(s)
}

// scanExponent reads [eE][+-]?[0-9]+ to the end of s.
func (n *number) scanExponent(s string) bool {
	if s[0] != 'e' && s[0] != 'E' {
		return false
	}
	i, negative := 1, false
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		negative = s[i] == '-'
		i++
	}
	if i == len(s) {
		return false
	}
	n.modest = n.modest && len(s)-i <= maxExponent
	exponent := 0
	for ; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		if n.modest {
			exponent = 10*exponent + int(s[i]-'0')
		}
	}
	if negative {
		exponent = -exponent
	}
	n.exponent += exponent
	return true
}

// Parse reads the digits of a JSON number, exactly to the 18th decimal; further
// ones are rounded half to even, as refusing the amount would leave an older one
// in its place. An amount that is too large is ErrRange.
func Parse(digits string) (Amount, error) {
	var n number
	switch {
	case !n.scan(digits):
		return Amount{}, ErrDigits
	case n.length == 0:
		return Amount{}, nil
	case !n.modest:
		return Amount{}, ErrRange
	}
	u, ok := n.scaled()
	if !ok || !u.less(limit) {
		return Amount{}, ErrRange
	}
	if n.negative {
		u = u.negated()
	}
	var a Amount
	binary.BigEndian.PutUint64(a[:8], u.hi)
	binary.BigEndian.PutUint64(a[8:], u.lo)
	return a, nil
}

// scaled returns the number times 10^18, rounded; not ok is 10^38 or more.
func (n *number) scaled() (u uint128, ok bool) {
	shift := n.exponent + Scale // by which the point moves to the right of the last digit
	kept := n.length + min(shift, 0)
	switch {
	case n.length+shift > Precision:
		return u, false
	case kept < 0: // less than a tenth
		return u, true
	}
	for _, d := range n.digits[:kept] {
		u = u.mulAdd(10, uint64(d))
	}
	for range shift {
		u = u.mulAdd(10, 0)
	}
	if shift < 0 && roundsUp(n.digits[kept:n.length], u.lo&1 == 1) {
		u = u.mulAdd(1, 1)
	}
	return u, true
}

// roundsUp tells whether digits that are cut off, the first of them a half of
// what is kept, make it one more.
func roundsUp(cut []byte, odd bool) bool {
	if cut[0] != 5 {
		return cut[0] > 5
	}
	for _, d := range cut[1:] {
		if d != 0 {
			return true
		}
	}
	return odd
}
