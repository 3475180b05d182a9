// Package people owns the columns of the people tables: one Salesloft person a row. It is pure.
package people

import (
	"time"

	"github.com/revstream/revstream/consumers/envelope"
	"github.com/revstream/revstream/pipeline/table"
	schema "github.com/revstream/revstream/schemas/people"
)

// Tables is the prefix of the entity's tables: people_current, people_history and people_ledger.
const Tables = "people"

// Columns fill people_current and people_history. The columns' meaning is in the schema.
var Columns = append([]table.Column[*schema.Person]{
	table.Of("person_id", "Int64", func(p *schema.Person) int64 { return p.PersonID }),
	table.Of("created_at", "Nullable(DateTime64(6, 'UTC'))", func(p *schema.Person) *time.Time { return p.CreatedAt }),
	table.Of("updated_at", "Nullable(DateTime64(6, 'UTC'))", func(p *schema.Person) *time.Time { return p.UpdatedAt }),
	table.Of("last_contacted_at", "Nullable(DateTime64(6, 'UTC'))", func(p *schema.Person) *time.Time { return p.LastContactedAt }),
	table.Of("last_replied_at", "Nullable(DateTime64(6, 'UTC'))", func(p *schema.Person) *time.Time { return p.LastRepliedAt }),
	table.Of("first_name", "Nullable(String)", func(p *schema.Person) *string { return p.FirstName }),
	table.Of("last_name", "Nullable(String)", func(p *schema.Person) *string { return p.LastName }),
	table.Of("display_name", "Nullable(String)", func(p *schema.Person) *string { return p.DisplayName }),
	table.Of("email_address", "Nullable(String)", func(p *schema.Person) *string { return p.EmailAddress }),
	table.Of("full_email_address", "Nullable(String)", func(p *schema.Person) *string { return p.FullEmailAddress }),
	table.Of("secondary_email_address", "Nullable(String)", func(p *schema.Person) *string { return p.SecondaryEmailAddress }),
	table.Of("personal_email_address", "Nullable(String)", func(p *schema.Person) *string { return p.PersonalEmailAddress }),
	table.Of("phone", "Nullable(String)", func(p *schema.Person) *string { return p.Phone }),
	table.Of("phone_extension", "Nullable(String)", func(p *schema.Person) *string { return p.PhoneExtension }),
	table.Of("home_phone", "Nullable(String)", func(p *schema.Person) *string { return p.HomePhone }),
	table.Of("mobile_phone", "Nullable(String)", func(p *schema.Person) *string { return p.MobilePhone }),
	table.Of("linkedin_url", "Nullable(String)", func(p *schema.Person) *string { return p.LinkedinURL }),
	table.Of("title", "Nullable(String)", func(p *schema.Person) *string { return p.Title }),
	table.Of("city", "Nullable(String)", func(p *schema.Person) *string { return p.City }),
	table.Of("state", "LowCardinality(Nullable(String))", func(p *schema.Person) *string { return p.State }),
	table.Of("country", "LowCardinality(Nullable(String))", func(p *schema.Person) *string { return p.Country }),
	table.Of("work_city", "Nullable(String)", func(p *schema.Person) *string { return p.WorkCity }),
	table.Of("work_state", "LowCardinality(Nullable(String))", func(p *schema.Person) *string { return p.WorkState }),
	table.Of("work_country", "LowCardinality(Nullable(String))", func(p *schema.Person) *string { return p.WorkCountry }),
	table.Of("crm_url", "Nullable(String)", func(p *schema.Person) *string { return p.CRMURL }),
	table.Of("crm_id", "Nullable(String)", func(p *schema.Person) *string { return p.CRMID }),
	table.Of("account_crm_id", "Nullable(String)", func(p *schema.Person) *string { return p.AccountCRMID }),
	table.Of("crm_object_type", "LowCardinality(Nullable(String))", func(p *schema.Person) *string { return p.CRMObjectType }),
	table.Of("owner_crm_id", "Nullable(String)", func(p *schema.Person) *string { return p.OwnerCRMID }),
	table.Of("person_company_name", "Nullable(String)", func(p *schema.Person) *string { return p.PersonCompanyName }),
	table.Of("person_company_website", "Nullable(String)", func(p *schema.Person) *string { return p.PersonCompanyWebsite }),
	table.Of("person_company_industry", "LowCardinality(Nullable(String))", func(p *schema.Person) *string { return p.PersonCompanyIndustry }),
	table.Of("do_not_contact", "Nullable(Bool)", func(p *schema.Person) *bool { return p.DoNotContact }),
	table.Of("bouncing", "Nullable(Bool)", func(p *schema.Person) *bool { return p.Bouncing }),
	table.Of("locale", "LowCardinality(Nullable(String))", func(p *schema.Person) *string { return p.Locale }),
	table.Of("locale_utc_offset", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.LocaleUTCOffset }),
	table.Of("eu_resident", "Nullable(Bool)", func(p *schema.Person) *bool { return p.EUResident }),
	table.Of("personal_website", "Nullable(String)", func(p *schema.Person) *string { return p.PersonalWebsite }),
	table.Of("twitter_handle", "Nullable(String)", func(p *schema.Person) *string { return p.TwitterHandle }),
	table.Of("last_contacted_type", "LowCardinality(Nullable(String))", func(p *schema.Person) *string { return p.LastContactedType }),
	table.Of("job_seniority", "LowCardinality(Nullable(String))", func(p *schema.Person) *string { return p.JobSeniority }),
	table.Of("job_function", "LowCardinality(Nullable(String))", func(p *schema.Person) *string { return p.JobFunction }),
	table.Of("external_source", "LowCardinality(Nullable(String))", func(p *schema.Person) *string { return p.ExternalSource }),
	table.Of("hot_lead", "Nullable(String)", func(p *schema.Person) *string { return p.HotLead }),
	table.Of("success_count", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.SuccessCount }),
	table.Of("starred", "Nullable(Bool)", func(p *schema.Person) *bool { return p.Starred }),
	table.Of("untouched", "Nullable(Bool)", func(p *schema.Person) *bool { return p.Untouched }),
	table.Of("emails_sent", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.EmailsSent }),
	table.Of("emails_viewed", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.EmailsViewed }),
	table.Of("emails_clicked", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.EmailsClicked }),
	table.Of("emails_replied_to", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.EmailsRepliedTo }),
	table.Of("emails_bounced", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.EmailsBounced }),
	table.Of("calls", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.Calls }),
	table.Of("account_id", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.AccountID }),
	table.Of("owner_id", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.OwnerID }),
	table.Of("last_contacted_by_id", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.LastContactedByID }),
	table.Of("import_id", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.ImportID }),
	table.Of("person_stage_id", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.PersonStageID }),
	table.Of("most_recent_cadence_id", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.MostRecentCadenceID }),
	table.Of("last_completed_step_cadence_id", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.LastCompletedStepCadenceID }),
	table.Of("last_completed_step_id", "Nullable(Int64)", func(p *schema.Person) *int64 { return p.LastCompletedStepID }),
	table.Of("cadence_ids", "Array(Int64)", func(p *schema.Person) []int64 { return p.CadenceIDs }),
	table.Of("tags", "Array(String)", func(p *schema.Person) []string { return p.Tags }),
	table.Of("contact_restrictions", "Array(String)", func(p *schema.Person) []string { return p.ContactRestrictions }),
	table.Of("custom_fields", "Map(String, String)", func(p *schema.Person) map[string]string { return p.CustomFields }),
	table.Of("extra", "Map(String, String)", func(p *schema.Person) map[string]string { return p.Extra }),
}, envelope.Columns[*schema.Person]()...)
