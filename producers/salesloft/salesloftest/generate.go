package salesloftest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

const (
	firstID = 100_000_001
	// history is the time over which the generated updated_at are spread, up to Config.Epoch.
	history = 180 * 24 * time.Hour

	hrefBase = "https://api.salesloft.com/v2/"
)

// origin is where a person comes from: names in its script, telephone numbers from ranges that are reserved for fiction where
// the country has one, and its time zone in January.
type origin struct {
	first, last          []string
	phone                string // # is a digit
	city, state, country string
	locale               string
	zone                 int // minutes east
}

var origins = []origin{
	{first: []string{"Avery", "Jordan", "Mary-Jane", "DeShawn"}, last: []string{"O'Neill", "Whitfield", "Nguyen", "St. Clair"},
		phone: "+1 (415) 555-01##", city: "San Francisco", state: "CA", country: "United States", locale: "America/Los_Angeles", zone: -480},
	{first: []string{"Priscilla", "Tobias"}, last: []string{"Hartwell", "van der Berg"},
		phone: "+1 212-555-01## x4#", city: "New York", state: "NY", country: "United States", locale: "America/New_York", zone: -300},
	{first: []string{"Zoë", "Siân"}, last: []string{"Featherstonehaugh", "Ó Súilleabháin"},
		phone: "+44 20 7946 0###", city: "London", state: "England", country: "United Kingdom", locale: "Europe/London", zone: 0},
	{first: []string{"Jürgen", "Käthe"}, last: []string{"Groß", "Müller-Lüdenscheidt"},
		phone: "+49 30 23125 ###", city: "Berlin", state: "Berlin", country: "Deutschland", locale: "Europe/Berlin", zone: 60},
	{first: []string{"Łukasz", "Světlana"}, last: []string{"Źdźbło", "Dvořáková"},
		phone: "+48 22 555 01 ##", city: "Łódź", state: "Łódzkie", country: "Polska", locale: "Europe/Warsaw", zone: 60},
	{first: []string{"Ольга", "Дмитро"}, last: []string{"Коваленко", "Щербак"},
		phone: "+380 44 555 01 ##", city: "Київ", state: "", country: "Україна", locale: "Europe/Kyiv", zone: 120},
	{first: []string{"Ελένη", "Νίκος"}, last: []string{"Παπαδοπούλου", "Αγγελής"},
		phone: "+30 21 0555 01##", city: "Αθήνα", state: "", country: "Ελλάδα", locale: "Europe/Athens", zone: 120},
	{first: []string{"ليلى", "عمر"}, last: []string{"الحداد", "منصور"},
		phone: "+971 4 555 01##", city: "دبي", state: "", country: "الإمارات", locale: "Asia/Dubai", zone: 240},
	{first: []string{"נועה", "איתן"}, last: []string{"לוי", "בן־דוד"},
		phone: "+972-3-555-01##", city: "תל אביב", state: "", country: "ישראל", locale: "Asia/Jerusalem", zone: 120},
	{first: []string{"अनन्या", "रोहन"}, last: []string{"शर्मा", "अय्यर"},
		phone: "+91 22 5550 01##", city: "मुंबई", state: "महाराष्ट्र", country: "भारत", locale: "Asia/Kolkata", zone: 330},
	{first: []string{"王", "秀英"}, last: []string{"欧阳", "李"},
		phone: "+86 10 5550 01##", city: "北京", state: "北京市", country: "中国", locale: "Asia/Shanghai", zone: 480},
	{first: []string{"さくら", "健太"}, last: []string{"髙橋", "渡邉"},
		phone: "+81-3-5550-01##", city: "東京", state: "東京都", country: "日本", locale: "Asia/Tokyo", zone: 540},
	{first: []string{"지우", "민준"}, last: []string{"김", "남궁"},
		phone: "+82 2-555-01##", city: "서울", state: "", country: "대한민국", locale: "Asia/Seoul", zone: 540},
	{first: []string{"Matilda", "Jack 🦘"}, last: []string{"O’Brien", "Te Whare"},
		phone: "+61 2 5550 ####", city: "Sydney", state: "NSW", country: "Australia", locale: "Australia/Sydney", zone: 660},
	{first: []string{"Aroha", "Nāera"}, last: []string{"Ngāta", "Sinclair"},
		phone: "+64 3 555 01##", city: "Waitangi", state: "", country: "New Zealand", locale: "Pacific/Chatham", zone: 825},
}

var (
	titles      = []string{"Account Executive", "VP, Sales & Marketing", "Chief <Revenue> Officer", "Buyer", "Directrice générale", "部長"}
	seniorities = []string{"director", "executive", "individual_contributor", "manager", "vice_president", "unknown"}
	industries  = []string{"Manufacturing", "Software", "Logistics & Supply", "Santé"}
	tagNames    = []string{"vip", "newsletter", "trade-fair 2024", "données", "🔥 hot", "a,b"}
)

// generatePeople spreads the people's updated_at evenly with jitter, so that they all differ unless TieRun has them tie.
func generatePeople(cfg Config) []*person {
	random := rand.New(rand.NewPCG(cfg.Seed, 0)) //nolint:gosec // test data
	people := make([]*person, cfg.People)
	if len(people) == 0 {
		return people
	}
	start := cfg.Epoch.Add(-history).UnixMicro()
	gap := max(1, history.Microseconds()/int64(len(people)))
	jitter := make([]int64, len(people))
	for i := range jitter {
		jitter[i] = random.Int64N(gap)
	}
	ids := random.Perm(len(people)) // updated_at does not follow the id
	for i := range people {
		slot := i - i%max(1, cfg.TieRun)
		updatedAt := start + int64(slot)*gap + jitter[slot]
		id := firstID + int64(ids[i])
		people[i] = &person{
			id: id, updatedAt: updatedAt, createdAt: updatedAt - random.Int64N(history.Microseconds()),
			zone: zoneOf(cfg.Seed, id),
		}
	}
	return people
}

// lasting and passing are the sources of chance for what a person keeps, and for what each version changes.
func lasting(seed uint64, id int64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(id))) //nolint:gosec // test data
}

func passing(seed uint64, id int64, version uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed^uint64(id)<<20, version+1)) //nolint:gosec // test data
}

func originOf(random *rand.Rand) origin { return origins[random.IntN(len(origins))] }

func zoneOf(seed uint64, id int64) int { return originOf(lasting(seed, id)).zone }

func title(seed uint64, id int64, version uint64) string {
	text := titles[passing(seed, id, version).IntN(len(titles))]
	if version > 0 {
		text += fmt.Sprintf(" (%d)", version)
	}
	return text
}

// generate renders a person. What it holds depends on seed, id and version alone.
func generate(seed uint64, p *person) json.RawMessage {
	keep, now := lasting(seed, p.id), passing(seed, p.id, p.version)
	from := originOf(keep)
	var o object
	o.identity(p, keep, from)
	o.contact(p, keep, from)
	o.work(seed, p, keep, from)
	o.engagement(p, now)
	o.references(keep, now)
	return o.close()
}

func (o *object) identity(p *person, keep *rand.Rand, from origin) {
	first, last := pick(keep, from.first), pick(keep, from.last)
	o.set("id", p.id)
	o.set("created_at", formatTime(p.createdAt, p.zone))
	o.set("updated_at", formatTime(p.updatedAt, p.zone))
	o.set("first_name", sometimes(keep, 98, first))
	o.set("last_name", last) // with a phone number it identifies a person who has no e-mail address
	o.set("display_name", first+" "+last)
}

func (o *object) contact(p *person, keep *rand.Rand, from origin) {
	email := sometimes(keep, 94, fmt.Sprintf("person.%d@%s", p.id, pick(keep, []string{"example.com", "example.org", "example.net"})))
	o.set("email_address", email)
	o.set("full_email_address", email)
	o.set("secondary_email_address", sometimes(keep, 10, fmt.Sprintf("second+%d@example.com", p.id)))
	o.set("personal_email_address", sometimes(keep, 10, fmt.Sprintf("home.%d@example.net", p.id)))
	if email == nil {
		o.set("phone", phone(keep, from.phone))
	} else {
		o.set("phone", sometimes(keep, 70, phone(keep, from.phone)))
	}
	o.set("phone_extension", sometimes(keep, 10, fmt.Sprintf("%04d", keep.IntN(10000))))
	o.set("home_phone", sometimes(keep, 5, ""))
	o.set("mobile_phone", sometimes(keep, 40, phone(keep, from.phone)))
	o.set("linkedin_url", sometimes(keep, 40, fmt.Sprintf("https://www.linkedin.example/in/%d?a=1&b=2", p.id)))
	o.set("personal_website", sometimes(keep, 5, "https://person.example/~me"))
	o.set("twitter_handle", sometimes(keep, 10, fmt.Sprintf("@person%d", p.id)))
	o.set("city", from.city)
	o.set("state", from.state)
	o.set("country", from.country)
	o.set("locale", sometimes(keep, 90, from.locale))
	o.set("locale_utc_offset", sometimes(keep, 90, from.zone))
}

func (o *object) work(seed uint64, p *person, keep *rand.Rand, from origin) {
	company := keep.IntN(500)
	o.set("title", title(seed, p.id, p.version))
	o.set("job_seniority", sometimes(keep, 60, pick(keep, seniorities)))
	o.set("job_function", sometimes(keep, 30, "sales"))
	o.set("work_city", sometimes(keep, 50, from.city))
	o.set("work_state", nil)
	o.set("work_country", sometimes(keep, 50, from.country))
	crm := sometimes(keep, 80, fmt.Sprintf("003%015d", p.id))
	o.set("crm_id", crm)
	if crm == nil {
		o.set("crm_url", nil)
		o.set("crm_object_type", nil)
	} else {
		o.set("crm_url", fmt.Sprintf("https://crm.example/%v", crm))
		o.set("crm_object_type", "contact")
	}
	o.set("account_crm_id", sometimes(keep, 60, fmt.Sprintf("001%015d", company)))
	o.set("owner_crm_id", sometimes(keep, 60, fmt.Sprintf("005%015d", company%20)))
	o.set("person_company_name", fmt.Sprintf("Company %d", company))
	o.set("person_company_website", fmt.Sprintf("https://company-%d.example", company))
	o.set("person_company_industry", sometimes(keep, 70, pick(keep, industries)))
	o.set("eu_resident", from.zone == 60)
	o.set("external_source", nil)
}

func (o *object) engagement(p *person, now *rand.Rand) {
	contacted := now.IntN(100) < 60
	if contacted {
		o.set("last_contacted_at", formatTime(p.updatedAt-now.Int64N(int64(time.Hour/time.Microsecond)), p.zone))
		o.set("last_contacted_type", pick(now, []string{"call", "email", "other"}))
	} else {
		o.set("last_contacted_at", nil)
		o.set("last_contacted_type", nil)
	}
	o.set("last_replied_at", nil)
	o.set("do_not_contact", now.IntN(100) < 3)
	o.set("bouncing", now.IntN(100) < 4)
	o.set("starred", now.IntN(100) < 10)
	o.set("untouched", !contacted)
	o.set("hot_lead", now.IntN(100) < 5)
	o.set("success_count", now.IntN(5))
	o.set("custom_fields", customFields(now))
	tags := []string{}
	for _, tag := range tagNames {
		if now.IntN(100) < 20 {
			tags = append(tags, tag)
		}
	}
	o.set("tags", tags)
	o.set("contact_restrictions", [][]string{{}, {}, {}, {"call"}, {"email", "message"}}[now.IntN(5)])
	sent := now.IntN(40)
	o.set("counts", map[string]int{
		"emails_sent": sent, "emails_viewed": sent * 2, "emails_clicked": sent / 3, "emails_replied_to": sent / 5,
		"emails_bounced": now.IntN(2), "calls": now.IntN(9),
	})
}

func (o *object) references(keep, now *rand.Rand) {
	refer := func(name, collection string, percent int, random *rand.Rand) {
		o.set(name, sometimes(random, percent, newReference(collection, 1+random.IntN(900))))
	}
	refer("account", "accounts", 80, keep)
	refer("owner", "users", 95, keep)
	refer("last_contacted_by", "users", 50, now)
	refer("import", "imports", 20, keep)
	refer("person_stage", "person_stages", 70, now)
	refer("most_recent_cadence", "cadences", 50, now)
	refer("last_completed_step_cadence", "cadences", 30, now)
	refer("last_completed_step", "steps", 30, now)
	cadences := []reference{}
	for range now.IntN(3) {
		cadences = append(cadences, newReference("cadences", 1+now.IntN(900)))
	}
	o.set("cadences", cadences)
}

type reference struct {
	ID   int    `json:"id"`
	Href string `json:"_href"`
}

func newReference(collection string, id int) reference {
	return reference{ID: id, Href: hrefBase + collection + "/" + strconv.Itoa(id)}
}

// customFields are what a team makes of them: every type of JSON, and numbers that no float holds.
func customFields(now *rand.Rand) map[string]any {
	all := []struct {
		name  string
		value any
	}{
		{"Region", pick(now, []string{"EMEA", "AMER", "APAC", ""})},
		{"Lead score", now.IntN(100)},
		{"Annual revenue", json.Number(fmt.Sprintf("%d.10", 9_007_199_254_740_993+now.Int64N(1000)))},
		{"Opted in", now.IntN(2) == 0},
		{"Notes", nil},
		{"Zip code", fmt.Sprintf("%05d", now.IntN(100000))},
		{"Quote", "says \"yes\" \\ no\nnext line"},
		{"Products", []string{"core", "add-on <x>"}},
		{"Büro", map[string]any{"Straße": "Am Ring 1", "floor": now.IntN(30)}},
	}
	fields := map[string]any{}
	for _, field := range all {
		if now.IntN(100) < 35 {
			fields[field.name] = field.value
		}
	}
	return fields
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

// sometimes is the value in so many of a hundred cases, else null.
func sometimes(random *rand.Rand, percent int, value any) any {
	if random.IntN(100) < percent {
		return value
	}
	return nil
}

func phone(random *rand.Rand, pattern string) string {
	return strings.Map(func(r rune) rune {
		if r == '#' {
			return '0' + rune(random.IntN(10))
		}
		return r
	}, pattern)
}

// object writes a JSON object with its fields in the order in which they are set.
type object struct {
	text    bytes.Buffer
	encoder *json.Encoder
}

func (o *object) set(name string, value any) {
	separator := ","
	if o.encoder == nil {
		o.encoder = json.NewEncoder(&o.text)
		o.encoder.SetEscapeHTML(false)
		separator = "{"
	}
	o.text.WriteString(separator + `"` + name + `":`)
	_ = o.encoder.Encode(value) // of types that always encode
	o.text.Truncate(o.text.Len() - 1)
}

func (o *object) close() json.RawMessage {
	o.text.WriteByte('}')
	return o.text.Bytes()
}
