package workload

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/revstream/revstream/schemas/people"
)

// What many people have in common.
var (
	states      = pointers("CA", "NY", "TX", "Bayern", "Île-de-France", "Ontario", "WA", "MA", "IL", "London")
	countries   = pointers("United States", "Germany", "France", "Canada", "United Kingdom")
	locales     = pointers("US/Pacific", "US/Eastern", "Europe/Berlin", "Europe/Paris", "America/Toronto", "Europe/London")
	industries  = numbered(40, "Industry %d")
	objects     = pointers("lead", "contact")
	contacts    = pointers("call", "email", "other")
	seniorities = pointers("director", "executive", "individual_contributor", "manager", "vice_president", "unknown")
	functions   = pointers("sales", "marketing", "engineering", "finance", "operations")
	origins     = pointers("salesforce", "csv", "webform")
	marks       = pointers("hot", "warm")
	cities      = numbered(300, "Springfield %d")
	titles      = numbered(200, "Head of Something %d")
	restricted  = []string{"do_not_call"}
	tagged      = []string{"event-2026", "newsletter", "enterprise", "renewal", "champion"}
	companies   = 20_000
)

// Person makes person event i, all columns filled, as of a version. No two numbers have one key.
func Person(i int, version time.Time) (*people.Person, error) {
	h, company := noise(i, 4), int(noise(i, 5)%uint64(companies))
	first, last, n := pick(firstNames, noise(i, 2)), pick(lastNames, noise(i, 3)), strconv.Itoa(i)
	email, count := "person"+n+"@company"+strconv.Itoa(company)+".example.com", func(shift int) *int64 { return new(int64(h >> shift % 40)) }
	p := &people.Person{
		PersonID: int64(100_000 + i), CreatedAt: new(version.AddDate(0, -8, 0)), UpdatedAt: new(version),
		LastContactedAt: new(version.Add(-30 * time.Hour)), LastRepliedAt: new(version.Add(-20 * time.Hour)),
		FirstName: &first, LastName: &last, DisplayName: new(first + " " + last), EmailAddress: &email,
		FullEmailAddress: new(first + " " + last + " <" + email + ">"), SecondaryEmailAddress: new("second" + n + "@example.org"),
		PersonalEmailAddress: new("private" + n + "@example.net"), Phone: phone(h), PhoneExtension: new(strconv.Itoa(int(h % 1000))),
		HomePhone: phone(h >> 3), MobilePhone: phone(h >> 5), LinkedinURL: new("https://www.linkedin.com/in/person-" + n),
		Title: pick(titles, h>>7), City: pick(cities, h>>9), State: pick(states, h>>11), Country: pick(countries, h>>13),
		WorkCity: pick(cities, h>>15), WorkState: pick(states, h>>17), WorkCountry: pick(countries, h>>19),
		CRMURL: new(fmt.Sprintf("https://example.my.salesforce.com/0034M%010dQAQ", i)), CRMID: new(fmt.Sprintf("0034M%010dQAQ", i)),
		AccountCRMID: new(fmt.Sprintf("0014M%010dQAA", company)), CRMObjectType: pick(objects, h>>21), OwnerCRMID: new(fmt.Sprintf("0054M%010dQAA", h%2000)),
		PersonCompanyName: new("Company " + strconv.Itoa(company)), PersonCompanyWebsite: new("https://company" + strconv.Itoa(company) + ".example.com"),
		PersonCompanyIndustry: pick(industries, uint64(company)), DoNotContact: new(h%50 == 0), Bouncing: new(h%31 == 0),
		Locale: pick(locales, h>>23), LocaleUTCOffset: new(int64(h%25)*60 - 720), EUResident: new(h%3 == 0),
		PersonalWebsite: new("https://person" + n + ".example.net"), TwitterHandle: new("@person" + n),
		LastContactedType: pick(contacts, h>>25), JobSeniority: pick(seniorities, h>>27), JobFunction: pick(functions, h>>29),
		ExternalSource: pick(origins, h>>31), HotLead: pick(marks, h>>33), SuccessCount: count(2), Starred: new(h%7 == 0), Untouched: new(h%5 == 0),
		EmailsSent: count(4), EmailsViewed: count(6), EmailsClicked: count(8), EmailsRepliedTo: count(10), EmailsBounced: count(12), Calls: count(14),
		AccountID: new(int64(5_000_000 + company)), OwnerID: new(int64(40_000 + h%2000)), LastContactedByID: new(int64(40_000 + h>>5%2000)), ImportID: new(int64(h % 900)),
		PersonStageID: new(int64(h % 12)), MostRecentCadenceID: new(int64(h % 3000)), LastCompletedStepCadenceID: new(int64(h % 3000)), LastCompletedStepID: new(int64(h % 20_000)),
		CadenceIDs: []int64{int64(h % 3000), int64(h >> 9 % 3000)}, Tags: []string{pick(tagged, h), pick(tagged, h>>8)}, ContactRestrictions: restricted,
		CustomFields: map[string]string{
			"Lead Score": strconv.Itoa(int(h % 100)), "Region": *pick(states, h>>35), "Renewal Date": version.Format(time.DateOnly),
			"Partner": "Partner " + strconv.Itoa(int(h>>37%80)), "Notes": strings.Repeat("met at the fair; ", int(1+h>>39%4)),
		},
		Extra: map[string]string{"person_score": strconv.Itoa(int(h >> 41 % 100)), "clean_state": `{"status":"clean"}`},
	}
	return p, seal(p, version)
}

func phone(h uint64) *string { return new(fmt.Sprintf("+1 555 %07d", h%10_000_000)) }
