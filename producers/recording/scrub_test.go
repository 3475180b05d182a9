package recording

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func newScrubber(key string) *scrubber { return &scrubber{key: []byte(key)} }

func (s *scrubber) must(t *testing.T, text string) string {
	t.Helper()
	out, err := s.json([]byte(text))
	require.NoError(t, err, text)
	return string(out)
}

func TestWhatStaysAndWhatDoesNot(t *testing.T) {
	t.Parallel()
	s := newScrubber("k")
	for text, keeps := range map[string]bool{
		`{"jobId":"6073683781a6da229df71e00"}`:                                  true,
		`{"updated_at":"2024-03-07T04:26:14.444910-05:00"}`:                     true,
		`{"userId":"280627:00E4M000001RgqRUAS","updatedOn":1670400000000}`:      true,
		`{"status":"DONE","rowsTruncated":false,"x":null}`:                      true,
		`{"metadata":{"paging":{"next_page":null,"total_count":17}}}`:           true,
		`{"scope":"people:read people:write","token_type":"bearer"}`:            true,
		`{"errors":{"email_address":["is already taken"]}}`:                     true,
		`{"error":"invalid_grant","error_description":"The token is revoked."}`: true,
		`{"counts":{"emails_sent":12}}`:                                         true,

		`{"id":"john@example.com"}`:                     false,
		`{"id":"John Smith"}`:                           false,
		`{"email_address":"john@example.com"}`:          false,
		`{"access_token":"abc"}`:                        false,
		`{"forecastValue":125000.0}`:                    false,
		`{"tax_id":1234}`:                               false,
		`{"custom_fields":{"id":5,"status":"DONE"}}`:    false,
		`{"custom_fields":[{"id":"5"}]}`:                false,
		`{"custom_fields":{"a":{"b":["2"]}}}`:           false,
		`{"john@example.com":null}`:                     false,
		`{"tags":["vip"]}`:                              false,
		`["free"]`:                                      false,
		`"free"`:                                        false,
		`{"error":"John is not allowed"}`:               false,
		`{"message":"bad key k3y9"}`:                    false,
		`{"message":"the bearer 493817465 is no good"}`: false,
	} {
		if out := s.must(t, text); keeps {
			require.Equal(t, text, out)
		} else {
			require.NotEqual(t, text, out)
			require.Len(t, out, len(text), out)
		}
	}
	require.NotContains(t, s.must(t, `{"custom_fields":{"Salary":5}}`), "Salary")
}

func TestPseudonyms(t *testing.T) {
	t.Parallel()
	s := newScrubber("k")
	for text, form := range map[string]string{
		"José.García+1@Example.com":      `^[A-Z][a-z]{2}[à-ï]\.[A-Z][a-z]{3}[à-ï][a-z]\+\d@[A-Z][a-z]{6}\.[a-z]{3}$`,
		"+1 (415) 555-0123 x42":          `^\+\d \(\d{3}\) \d{3}-\d{4} [a-z]\d\d$`,
		"https://www.linkedin.com/in/99": `^https://[a-z]{3}\.[a-z]{8}\.[a-z]{3}/[a-z]{2}/\d\d$`,
		"さくら 😀":                          `^[^a-z]{3} [^a-z]$`,
	} {
		got := s.pseudonym(text)
		require.Regexp(t, form, got)
		require.Len(t, got, len(text))
		require.Equal(t, got, s.pseudonym(text), "equal texts stay equal")
		require.NotEqual(t, got, newScrubber("other").pseudonym(text))
		have := []rune(strings.TrimPrefix(text, "https://"))
		for i, c := range []rune(strings.TrimPrefix(got, "https://")) {
			if c >= utf8.RuneSelf || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
				require.NotEqual(t, have[i], c)
			}
		}
	}
	for digits, form := range map[string]string{
		"125000.0": `^[2-9]\d{5}\.[1-9]$`, "-0.50": `^-0\.\d\d$`, "7e3": `^[1-9]e3$`, "0": `^0$`, "0.00": `^0\.00$`, "-12345678901234567890": `^-[2-9]\d{19}$`,
	} {
		require.Regexp(t, form, s.number(digits))
	}
}

func TestAddressesAndHeaders(t *testing.T) {
	t.Parallel()
	s := newScrubber("k")
	for text, keeps := range map[string]bool{
		"/v4/export/jobs/6073683781a6da229df71e00/results":                                       true,
		"/v2/people?ids%5B%5D=1&ids%5B%5D=2&page=1&updated_at%5Bgte%5D=2024-10-01T00%3A00%3A00Z": true,
		"/v2/people?email_addresses%5B%5D=john%40example.com":                                    false,
		"/v2/people/john@example.com":                                                            false,
		"/bucket?X-Amz-Signature=abcdef":                                                         false,
		"/v2/people?john@example.com=1":                                                          false,
		"/v2/people?page=john@x.com":                                                             false,
	} {
		u, err := url.Parse("https://user:secret@tenant.example.com" + text)
		require.NoError(t, err)
		got := s.url(u)
		if keeps {
			require.Equal(t, text, got)
		}
		for _, part := range []string{"secret", "tenant", "john", "abcdef"} {
			require.NotContains(t, got, part)
		}
	}
	require.Empty(t, s.headers(http.Header{
		"Authorization": {"Bearer x"}, "Apikey": {"x"}, "Cookie": {"x"}, "Content-Type": {"text/plain; name=john@example.com"},
	}, requestHeaders))
	require.Len(t, s.headers(http.Header{"Retry-After": {"Wed, 21 Oct 2015 07:28:00 GMT"}}, responseHeaders), 1)
}

func TestSampleShortensListsAndStaysJSON(t *testing.T) {
	t.Parallel()
	long := func(n int, element string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
	}
	text := `{"entries":` + long(1300, `{"a":[1,2,{"b":"],}\"\\"}]}`) + `,"users":` + long(maxElements, `"x"`) + `,"periods":[1],"deep":` + long(3, long(700, `0`)) + "}\n"
	for _, step := range []int{1, 7, 4096, len(text)} {
		var s sample
		for b := []byte(text); len(b) > 0; b = b[min(step, len(b)):] {
			s.add(b[:min(step, len(b))])
		}
		var doc struct {
			Entries, Users, Periods []any
			Deep                    [][]any
		}
		require.NoError(t, json.Unmarshal(s.kept, &doc))
		require.Len(t, doc.Entries, maxElements)
		require.Len(t, doc.Users, maxElements)
		require.Len(t, doc.Periods, 1)
		require.Len(t, doc.Deep, 3)
		require.Len(t, doc.Deep[2], maxElements)
		require.EqualValues(t, len(text), s.total)
		require.Equal(t, 800+3*200, s.dropped)
	}
	var s sample
	s.add([]byte(`{"a":"` + strings.Repeat("x", maxBodyBytes) + `"}`))
	require.True(t, s.leftOut)
	require.Nil(t, s.kept)
	s = sample{}
	s.add(bytes.Repeat([]byte("["), 1<<20))
	require.True(t, s.leftOut)
}

// FuzzScrub holds the scrubber to its word: what comes out is JSON if what went in is, has the same shape, and has no text or
// number of the input but under keys where they may stay.
func FuzzScrub(f *testing.F) {
	for _, seed := range []string{
		`{"data":[{"id":1,"email_address":"a@b.example","custom_fields":{"Büro":[1.5,{"x":"y"}]}}],"metadata":{}}`,
		`{"entries":[{"userId":"1:A","forecastValue":-12.5e3}]}`, `{"errors":{"a":["is bad"]}}`, `[`, `{"a"`, `"\ud800"`, `{"a":1}{"b":2}`, "\xff", `{"a":"\xff"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var kept sample
		kept.add(text)
		s := newScrubber("k")
		out, err := s.json(kept.kept)
		require.True(t, utf8.Valid(out))
		if err != nil || kept.leftOut {
			return
		}
		require.True(t, json.Valid(kept.kept), "%q", kept.kept)
		require.True(t, json.Valid(out), "%q of %q", out, kept.kept)
		compare(t, kept.kept, out)
	})
}

// compare walks over both texts token by token.
func compare(t *testing.T, before, after []byte) {
	t.Helper()
	tokens := func(text []byte) (all []json.Token) {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		for {
			token, err := decoder.Token()
			if err != nil {
				return all
			}
			all = append(all, token)
		}
	}
	was, is := tokens(before), tokens(after)
	require.Len(t, is, len(was))
	for i := range was {
		require.IsType(t, was[i], is[i])
		text, isText := was[i].(string)
		if !isText {
			continue
		}
		got := is[i].(string)
		require.Equal(t, utf8.RuneCountInString(text), utf8.RuneCountInString(got))
		if strings.ContainsAny(text, "@") && strings.ContainsAny(text, "abcdefghijklmnopqrstuvwxyz0123456789") && !vocabularyOnly(text) {
			require.NotEqual(t, text, got)
		}
	}
}

// vocabularyOnly is true of what a message may keep whole, and of the scheme of an address.
func vocabularyOnly(text string) bool {
	for _, w := range word.FindAllString(text, -1) {
		if !vocabulary[strings.ToLower(w)] && !shortNumber.MatchString(w) && w != "http" && w != "https" && w != "mailto" {
			return false
		}
	}
	return true
}
