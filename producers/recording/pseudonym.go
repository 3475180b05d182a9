package recording

import (
	"crypto/hmac"
	"crypto/sha256"
	"math/rand/v2"
	"regexp"
	"strings"
	"unicode/utf8"
)

// dice are thrown in the same way for the same text, as long as the key is the same.
func (s *scrubber) dice(text string) *rand.Rand {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(text))
	return rand.New(rand.NewChaCha8([32]byte(mac.Sum(nil)))) //nolint:gosec // the stream of ChaCha8 under a secret key
}

const (
	twoBytes   = "àáâãäåæçèéêëìíîï"
	threeBytes = "一丁七万丈三上下不与丑专且世丘丙"
	fourBytes  = "😀😁😂😃😄😅😆😇😈😉😊😋😌😍😎😏"
)

// pseudonym is a text of the same form: letters for letters, digits for digits, characters for those of as many bytes. ASCII's
// punctuation stays, and the scheme of a web address. No character of the others stays as it is.
func (s *scrubber) pseudonym(text string) string {
	dice := s.dice(text)
	rest := text
	for _, scheme := range []string{"https://", "http://", "mailto:"} {
		if strings.HasPrefix(text, scheme) {
			rest = text[len(scheme):]
		}
	}
	var b strings.Builder
	b.WriteString(text[:len(text)-len(rest)])
	for _, c := range rest {
		b.WriteRune(another(c, dice))
	}
	return b.String()
}

func another(c rune, dice *rand.Rand) rune {
	among := func(first, last rune) rune {
		n := last - first // one less than there are
		return first + (c-first+1+dice.Int32N(n))%(n+1)
	}
	oneOf := func(list string) rune {
		runes := []rune(list)
		for {
			if pick := runes[dice.IntN(len(runes))]; pick != c {
				return pick
			}
		}
	}
	switch {
	case c >= '0' && c <= '9':
		return among('0', '9')
	case c >= 'a' && c <= 'z':
		return among('a', 'z')
	case c >= 'A' && c <= 'Z':
		return among('A', 'Z')
	case c < utf8.RuneSelf:
		return c
	}
	switch utf8.RuneLen(c) {
	case 2:
		return oneOf(twoBytes)
	case 3:
		return oneOf(threeBytes)
	}
	return oneOf(fourBytes)
}

// number is another number of as many digits, with the same sign, point and exponent. Zero stays zero.
func (s *scrubber) number(digits string) string {
	mantissa, exponent := digits, ""
	if at := strings.IndexAny(digits, "eE"); at >= 0 {
		mantissa, exponent = digits[:at], digits[at:]
	}
	if strings.Trim(mantissa, "-0.") == "" {
		return digits
	}
	dice := s.dice(digits)
	out := []byte(mantissa)
	leading := true
	for i, c := range out {
		switch {
		case c < '0' || c > '9':
			leading = leading && c != '.'
		case leading && c == '0': // 0.5: no other digit can stand there
			leading = false
		case leading: // 1…9
			out[i] = '1' + (c-'1'+1+byte(dice.IntN(8)))%9
			leading = false
		default:
			out[i] = '0' + (c-'0'+1+byte(dice.IntN(9)))%10
		}
	}
	return string(out) + exponent
}

var (
	word        = regexp.MustCompile(`[A-Za-z0-9\x{80}-\x{10FFFF}]+`)
	shortNumber = regexp.MustCompile(`^[0-9]{1,4}$`)

	// vocabulary is what messages of errors keep, in small letters: enough to tell which error it is.
	vocabulary = set(`
		a about after again already all an and any api application are as at attached attempts authentication authorization
		available bad be bearer been blank body but by can cancel client concurrent config configuration connection could
		credentials crm data date denied described description developers did disabled does documentation email empty enabled
		ended enough error exceeded exceeds exist exists expected expired export failed field fields file forbidden forecast for
		format found from gateway given grant has have historical in included incorrect integer internal invalid is issue it its job jobid
		json key lacks large length less limit list long maintenance malformed many matched maximum mgr minimum minute missing
		monthly more most must name no not null number of ok one only opt optin optins or organization out page parameter parameters
		password per period permission permissions person phone please present provided quota rate rates reached refresh refused
		rejected request requested requests required resource results retry revoked route scope scopes see server service short
		size something state status string support supported taken team temporarily than that the these they this those time timeout to
		token too try two type types unable unauthorized unavailable unexpected unknown unprocessable unsupported until upstream url
		used user users valid value values want was were when which will with within without wrong you your
	`)
)

// message is a text whose words stay if they are of the vocabulary, as do short numbers.
func (s *scrubber) message(text string) string {
	return word.ReplaceAllStringFunc(text, func(w string) string {
		if vocabulary[strings.ToLower(w)] || shortNumber.MatchString(w) {
			return w
		}
		return s.pseudonym(w)
	})
}
