// Package people owns the person event: a Salesloft person as of one change.
package people

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/avro"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
)

// Entity is the name of the entity in event IDs and types.
const Entity = "person"

// SchemaFile is the file of the schema under schemas/avro.
const SchemaFile = "person.v1.avsc"

// Schema is the newest schema of the event.
var Schema = avro.MustParse(schemas.MustAvro(SchemaFile))

// Person is a Salesloft person, whole. The fields' meaning and units are in
// the schema. A nil pointer is a null of the source.
type Person struct {
	event.Envelope
	PersonID                   int64             `avro:"person_id"`
	CreatedAt                  *time.Time        `avro:"created_at"`
	UpdatedAt                  *time.Time        `avro:"updated_at"`
	LastContactedAt            *time.Time        `avro:"last_contacted_at"`
	LastRepliedAt              *time.Time        `avro:"last_replied_at"`
	FirstName                  *string           `avro:"first_name"`
	LastName                   *string           `avro:"last_name"`
	DisplayName                *string           `avro:"display_name"`
	EmailAddress               *string           `avro:"email_address"`
	FullEmailAddress           *string           `avro:"full_email_address"`
	SecondaryEmailAddress      *string           `avro:"secondary_email_address"`
	PersonalEmailAddress       *string           `avro:"personal_email_address"`
	Phone                      *string           `avro:"phone"`
	PhoneExtension             *string           `avro:"phone_extension"`
	HomePhone                  *string           `avro:"home_phone"`
	MobilePhone                *string           `avro:"mobile_phone"`
	LinkedinURL                *string           `avro:"linkedin_url"`
	Title                      *string           `avro:"title"`
	City                       *string           `avro:"city"`
	State                      *string           `avro:"state"`
	Country                    *string           `avro:"country"`
	WorkCity                   *string           `avro:"work_city"`
	WorkState                  *string           `avro:"work_state"`
	WorkCountry                *string           `avro:"work_country"`
	CRMURL                     *string           `avro:"crm_url"`
	CRMID                      *string           `avro:"crm_id"`
	AccountCRMID               *string           `avro:"account_crm_id"`
	CRMObjectType              *string           `avro:"crm_object_type"`
	OwnerCRMID                 *string           `avro:"owner_crm_id"`
	PersonCompanyName          *string           `avro:"person_company_name"`
	PersonCompanyWebsite       *string           `avro:"person_company_website"`
	PersonCompanyIndustry      *string           `avro:"person_company_industry"`
	DoNotContact               *bool             `avro:"do_not_contact"`
	Bouncing                   *bool             `avro:"bouncing"`
	Locale                     *string           `avro:"locale"`
	LocaleUTCOffset            *int64            `avro:"locale_utc_offset"`
	EUResident                 *bool             `avro:"eu_resident"`
	PersonalWebsite            *string           `avro:"personal_website"`
	TwitterHandle              *string           `avro:"twitter_handle"`
	LastContactedType          *string           `avro:"last_contacted_type"`
	JobSeniority               *string           `avro:"job_seniority"`
	JobFunction                *string           `avro:"job_function"`
	ExternalSource             *string           `avro:"external_source"`
	HotLead                    *string           `avro:"hot_lead"`
	SuccessCount               *int64            `avro:"success_count"`
	Starred                    *bool             `avro:"starred"`
	Untouched                  *bool             `avro:"untouched"`
	EmailsSent                 *int64            `avro:"emails_sent"`
	EmailsViewed               *int64            `avro:"emails_viewed"`
	EmailsClicked              *int64            `avro:"emails_clicked"`
	EmailsRepliedTo            *int64            `avro:"emails_replied_to"`
	EmailsBounced              *int64            `avro:"emails_bounced"`
	Calls                      *int64            `avro:"calls"`
	AccountID                  *int64            `avro:"account_id"`
	OwnerID                    *int64            `avro:"owner_id"`
	LastContactedByID          *int64            `avro:"last_contacted_by_id"`
	ImportID                   *int64            `avro:"import_id"`
	PersonStageID              *int64            `avro:"person_stage_id"`
	MostRecentCadenceID        *int64            `avro:"most_recent_cadence_id"`
	LastCompletedStepCadenceID *int64            `avro:"last_completed_step_cadence_id"`
	LastCompletedStepID        *int64            `avro:"last_completed_step_id"`
	CadenceIDs                 []int64           `avro:"cadence_ids"`
	Tags                       []string          `avro:"tags"`
	ContactRestrictions        []string          `avro:"contact_restrictions"`
	CustomFields               map[string]string `avro:"custom_fields"`
	Extra                      map[string]string `avro:"extra"`
}

// Head implements event.Event.
func (p *Person) Head() *event.Envelope { return &p.Envelope }

// Entity implements event.Event.
func (*Person) Entity() string { return Entity }

// Key implements event.Event: salesloft:<id>.
func (p *Person) Key() string { return string(p.AppendKey(make([]byte, 0, 32))) }

// AppendKey implements event.Event.
func (p *Person) AppendKey(dst []byte) []byte {
	return strconv.AppendInt(append(dst, "salesloft:"...), p.PersonID, 10)
}

// ParseKey returns the ID of the person whose key it is.
func ParseKey(key string) (id int64, ok bool) {
	digits, ok := strings.CutPrefix(key, "salesloft:")
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseInt(digits, 10, 64)
	ok = err == nil && id > 0 && (&Person{PersonID: id}).Key() == key // no sign, no zero in front
	return id, ok
}

// Validate implements event.Event.
func (p *Person) Validate() error {
	if p.PersonID <= 0 {
		return errors.New("person_id is not positive")
	}
	if p.UpdatedAt != nil && !p.UpdatedAt.Equal(p.SourceVersion) {
		return errors.New("updated_at is not the source_version")
	}
	return event.CheckTimes(event.Moment{Name: "created_at", Time: p.CreatedAt}, event.Moment{Name: "updated_at", Time: p.UpdatedAt},
		event.Moment{Name: "last_contacted_at", Time: p.LastContactedAt}, event.Moment{Name: "last_replied_at", Time: p.LastRepliedAt})
}
