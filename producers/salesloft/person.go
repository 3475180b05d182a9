package salesloft

import "time"

// Person is one person as the API sends it, complete: nothing that the source said is dropped except the addresses (`_href`)
// of references. A nil pointer, slice or map is JSON null or an absent field, which the API treats alike; "" stays "".
type Person struct {
	ID        int64
	CreatedAt *time.Time
	UpdatedAt time.Time // to the microsecond, with the offset that was sent; never zero

	LastContactedAt *time.Time
	LastRepliedAt   *time.Time

	FirstName   *string
	LastName    *string
	DisplayName *string

	EmailAddress          *string
	FullEmailAddress      *string
	SecondaryEmailAddress *string
	PersonalEmailAddress  *string
	Phone                 *string
	PhoneExtension        *string
	HomePhone             *string
	MobilePhone           *string
	LinkedinURL           *string
	PersonalWebsite       *string
	TwitterHandle         *string

	Title       *string
	City        *string
	State       *string
	Country     *string
	WorkCity    *string
	WorkState   *string
	WorkCountry *string

	CRMURL        *string
	CRMID         *string
	AccountCRMID  *string
	CRMObjectType *string
	OwnerCRMID    *string

	PersonCompanyName     *string
	PersonCompanyWebsite  *string
	PersonCompanyIndustry *string

	Locale          *string
	LocaleUTCOffset *int64

	LastContactedType *string // call, email, other
	JobSeniority      *string // director, executive, individual_contributor, manager, vice_president, unknown

	DoNotContact *bool
	Bouncing     *bool
	EUResident   *bool
	Starred      *bool
	Untouched    *bool
	SuccessCount *int64

	// CustomFields maps a field's name to its value as text. A JSON string is its plain content; every other value is its JSON
	// text: numbers with the digits that were sent, true, false, null, objects and arrays without white space. So the string
	// "7" and the number 7 read alike, as do "null" and null: the source lets a team retype a field, and readers of a text
	// column want one spelling.
	CustomFields map[string]string

	Tags                []string
	ContactRestrictions []string
	Counts              *Counts

	AccountID                  *int64
	OwnerID                    *int64
	LastContactedByID          *int64
	ImportID                   *int64
	PersonStageID              *int64
	MostRecentCadenceID        *int64
	LastCompletedStepCadenceID *int64
	LastCompletedStepID        *int64
	CadenceIDs                 []int64

	// Newer fields, whose types are not documented: a string is its content, anything else its JSON text.
	ExternalSource *string
	HotLead        *string
	JobFunction    *string

	// Extra holds the fields that this type does not know: name → JSON text, as sent. Unknown counts are "counts.<name>".
	// Nil when there are none.
	Extra map[string]string
}

// Counts is how often a person was contacted, by kind.
type Counts struct {
	EmailsSent      *int64
	EmailsViewed    *int64
	EmailsClicked   *int64
	EmailsRepliedTo *int64
	EmailsBounced   *int64
	Calls           *int64
}
