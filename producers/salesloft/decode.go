package salesloft

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// ParsePerson reads one bare person object. The error is a *FieldError and holds no value of the record. Only `id` and
// `updated_at` have to be there: they are the key and the version of everything that follows.
func ParsePerson(raw []byte) (Person, error) {
	object, err := parseObject(raw)
	if err != nil {
		return Person{}, err
	}
	var p Person
	d := &decoder{fields: object}
	d.identity(&p)
	d.contact(&p)
	d.work(&p)
	d.engagement(&p)
	d.references(&p)
	p.Extra = d.rest(p.Extra)
	if d.err != nil {
		return Person{}, d.err
	}
	return p, nil
}

// parseIdentity reads what can still be read of a record that ParsePerson refuses, so that it can be named and ordered.
func parseIdentity(raw []byte) (id int64, updatedAt, createdAt time.Time) {
	object, err := parseObject(raw)
	if err != nil {
		return 0, time.Time{}, time.Time{}
	}
	if n, ok := integer(object["id"]); ok {
		id = n
	}
	if t, ok := timestamp(object["updated_at"]); ok {
		updatedAt = t
	}
	if t, ok := timestamp(object["created_at"]); ok {
		createdAt = t
	}
	return id, updatedAt, createdAt
}

func parseObject(raw []byte) (map[string]json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		return nil, &FieldError{Problem: "is not a JSON object"}
	}
	return object, nil
}

func (d *decoder) identity(p *Person) {
	var id *int64
	d.integer("id", &id)
	if id == nil || *id <= 0 {
		d.fail("id", "is missing or not a positive integer")
	} else {
		p.ID = *id
	}
	var updatedAt *time.Time
	d.time("updated_at", &updatedAt)
	if updatedAt == nil {
		d.fail("updated_at", "is missing")
	} else {
		p.UpdatedAt = *updatedAt
	}
	d.time("created_at", &p.CreatedAt)
	d.string("first_name", &p.FirstName)
	d.string("last_name", &p.LastName)
	d.string("display_name", &p.DisplayName)
}

func (d *decoder) contact(p *Person) {
	d.string("email_address", &p.EmailAddress)
	d.string("full_email_address", &p.FullEmailAddress)
	d.string("secondary_email_address", &p.SecondaryEmailAddress)
	d.string("personal_email_address", &p.PersonalEmailAddress)
	d.string("phone", &p.Phone)
	d.string("phone_extension", &p.PhoneExtension)
	d.string("home_phone", &p.HomePhone)
	d.string("mobile_phone", &p.MobilePhone)
	d.string("linkedin_url", &p.LinkedinURL)
	d.string("personal_website", &p.PersonalWebsite)
	d.string("twitter_handle", &p.TwitterHandle)
	d.string("city", &p.City)
	d.string("state", &p.State)
	d.string("country", &p.Country)
	d.string("locale", &p.Locale)
	d.integer("locale_utc_offset", &p.LocaleUTCOffset)
}

func (d *decoder) work(p *Person) {
	d.string("title", &p.Title)
	d.string("job_seniority", &p.JobSeniority)
	d.text("job_function", &p.JobFunction)
	d.string("work_city", &p.WorkCity)
	d.string("work_state", &p.WorkState)
	d.string("work_country", &p.WorkCountry)
	d.string("crm_url", &p.CRMURL)
	d.string("crm_id", &p.CRMID)
	d.string("account_crm_id", &p.AccountCRMID)
	d.string("crm_object_type", &p.CRMObjectType)
	d.string("owner_crm_id", &p.OwnerCRMID)
	d.string("person_company_name", &p.PersonCompanyName)
	d.string("person_company_website", &p.PersonCompanyWebsite)
	d.string("person_company_industry", &p.PersonCompanyIndustry)
}

func (d *decoder) engagement(p *Person) {
	d.time("last_contacted_at", &p.LastContactedAt)
	d.time("last_replied_at", &p.LastRepliedAt)
	d.string("last_contacted_type", &p.LastContactedType)
	d.bool("do_not_contact", &p.DoNotContact)
	d.bool("bouncing", &p.Bouncing)
	d.bool("eu_resident", &p.EUResident)
	d.bool("starred", &p.Starred)
	d.bool("untouched", &p.Untouched)
	d.integer("success_count", &p.SuccessCount)
	d.text("external_source", &p.ExternalSource)
	d.text("hot_lead", &p.HotLead)
	d.strings("tags", &p.Tags)
	d.strings("contact_restrictions", &p.ContactRestrictions)
	d.customFields(&p.CustomFields)
	d.counts(p)
}

func (d *decoder) references(p *Person) {
	d.reference("account", &p.AccountID)
	d.reference("owner", &p.OwnerID)
	d.reference("last_contacted_by", &p.LastContactedByID)
	d.reference("import", &p.ImportID)
	d.reference("person_stage", &p.PersonStageID)
	d.reference("most_recent_cadence", &p.MostRecentCadenceID)
	d.reference("last_completed_step_cadence", &p.LastCompletedStepCadenceID)
	d.reference("last_completed_step", &p.LastCompletedStepID)
	d.cadences(&p.CadenceIDs)
}

// decoder takes fields out of an object one by one, so that what is left is what nobody knew. The first error stays.
type decoder struct {
	fields map[string]json.RawMessage
	prefix string
	err    error
}

func (d *decoder) fail(name, problem string) {
	if d.err == nil {
		d.err = &FieldError{Field: d.prefix + name, Problem: problem}
	}
}

// take removes the field and returns its value, or nil when it is null or absent.
func (d *decoder) take(name string) json.RawMessage {
	raw := d.fields[name]
	delete(d.fields, name)
	if isNull(raw) {
		return nil
	}
	return raw
}

func (d *decoder) rest(into map[string]string) map[string]string {
	if len(d.fields) == 0 {
		return into
	}
	if into == nil {
		into = make(map[string]string, len(d.fields))
	}
	for name, raw := range d.fields {
		into[d.prefix+name] = string(raw)
	}
	return into
}

func decode[T any](d *decoder, name, want string, into **T, parse func(json.RawMessage) (T, bool)) {
	raw := d.take(name)
	if raw == nil {
		return
	}
	value, ok := parse(raw)
	if !ok {
		d.fail(name, "is not "+want)
		return
	}
	*into = &value
}

func (d *decoder) string(name string, into **string) {
	decode(d, name, "a string", into, unmarshal[string])
}

func (d *decoder) bool(name string, into **bool) {
	decode(d, name, "a boolean", into, unmarshal[bool])
}

func (d *decoder) integer(name string, into **int64) {
	decode(d, name, "a 64-bit integer", into, integer)
}

func (d *decoder) time(name string, into **time.Time) {
	decode(d, name, "an RFC 3339 time", into, timestamp)
}

func (d *decoder) text(name string, into **string) {
	decode(d, name, "a value", into, text)
}

func (d *decoder) reference(name string, into **int64) {
	raw := d.take(name)
	if raw == nil {
		return
	}
	reference, ok := unmarshal[struct {
		ID json.RawMessage `json:"id"`
	}](raw)
	if !ok {
		d.fail(name, "is not a reference")
		return
	}
	if isNull(reference.ID) {
		return
	}
	id, ok := integer(reference.ID)
	if !ok {
		d.fail(name, "has an id that is not a 64-bit integer")
		return
	}
	*into = &id
}

func (d *decoder) cadences(into *[]int64) {
	raw := d.take("cadences")
	if raw == nil {
		return
	}
	references, ok := unmarshal[[]struct {
		ID json.RawMessage `json:"id"`
	}](raw)
	if !ok {
		d.fail("cadences", "is not a list of references")
		return
	}
	ids := make([]int64, len(references))
	for i, reference := range references {
		if ids[i], ok = integer(reference.ID); !ok {
			d.fail("cadences", "has an id that is not a 64-bit integer")
			return
		}
	}
	*into = ids
}

func (d *decoder) strings(name string, into *[]string) {
	raw := d.take(name)
	if raw == nil {
		return
	}
	values, ok := unmarshal[[]*string](raw)
	if !ok {
		d.fail(name, "is not a list of strings")
		return
	}
	list := make([]string, len(values))
	for i, value := range values {
		if value == nil {
			d.fail(name, "has a null among its strings")
			return
		}
		list[i] = *value
	}
	*into = list
}

func (d *decoder) customFields(into *map[string]string) {
	raw := d.take("custom_fields")
	if raw == nil {
		return
	}
	values, ok := unmarshal[map[string]json.RawMessage](raw)
	if !ok {
		d.fail("custom_fields", "is not an object")
		return
	}
	fields := make(map[string]string, len(values))
	for name, value := range values {
		fields[name], _ = text(value)
	}
	*into = fields
}

func (d *decoder) counts(p *Person) {
	raw := d.take("counts")
	if raw == nil {
		return
	}
	object, ok := unmarshal[map[string]json.RawMessage](raw)
	if !ok {
		d.fail("counts", "is not an object")
		return
	}
	counts := &Counts{}
	inner := &decoder{fields: object, prefix: "counts."}
	inner.integer("emails_sent", &counts.EmailsSent)
	inner.integer("emails_viewed", &counts.EmailsViewed)
	inner.integer("emails_clicked", &counts.EmailsClicked)
	inner.integer("emails_replied_to", &counts.EmailsRepliedTo)
	inner.integer("emails_bounced", &counts.EmailsBounced)
	inner.integer("calls", &counts.Calls)
	if inner.err != nil && d.err == nil {
		d.err = inner.err
	}
	p.Extra = inner.rest(p.Extra)
	p.Counts = counts
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null"
}

func unmarshal[T any](raw json.RawMessage) (T, bool) {
	var value T
	err := json.Unmarshal(raw, &value)
	return value, err == nil
}

// integer reads the digits themselves: through a float64 an id above 2^53 would become another id.
func integer(raw json.RawMessage) (int64, bool) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

func timestamp(raw json.RawMessage) (time.Time, bool) {
	value, ok := unmarshal[string](raw)
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil || t.IsZero() {
		return time.Time{}, false
	}
	return t.Truncate(time.Microsecond), true
}

// text is a string's content, or the compact JSON of any other value.
func text(raw json.RawMessage) (string, bool) {
	if value, ok := unmarshal[string](raw); ok && raw[0] == '"' {
		return value, true
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return "", false
	}
	return compact.String(), true
}
