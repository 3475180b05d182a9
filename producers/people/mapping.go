package people

import (
	"strings"
	"time"

	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/people"
)

// upsert turns a person into the sealed event of its present state. The ID depends on nothing but the person's ID and
// updated_at, so that a poll and a webhook of one change are one event.
func upsert(p salesloft.Person, observed time.Time, correlationID string) (*people.Person, error) {
	e := represent(p)
	return e, event.Seal(e, event.Upsert, p.UpdatedAt, observed, correlationID)
}

// deletion turns a person_deleted delivery into a sealed event: at the version that the delivery names, else at observed. The
// event ID sorts a delete after every other event of the same version.
func deletion(delivery salesloft.Event, observed time.Time, correlationID string) (*people.Person, error) {
	p := salesloft.Person{ID: delivery.PersonID}
	if delivery.Person != nil {
		p = *delivery.Person
	}
	e := represent(p)
	version := delivery.UpdatedAt
	if version.IsZero() {
		version = observed // each redelivery is then another event, of the same effect
	} else {
		e.UpdatedAt = instant(&version)
	}
	return e, event.Seal(e, event.Delete, version, observed, correlationID)
}

// represent maps every field. TestEveryFieldIsMapped finds one that is forgotten.
func represent(p salesloft.Person) *people.Person {
	e := &people.Person{
		PersonID:              p.ID,
		CreatedAt:             instant(p.CreatedAt),
		LastContactedAt:       instant(p.LastContactedAt),
		LastRepliedAt:         instant(p.LastRepliedAt),
		FirstName:             p.FirstName,
		LastName:              p.LastName,
		DisplayName:           p.DisplayName,
		EmailAddress:          p.EmailAddress,
		FullEmailAddress:      p.FullEmailAddress,
		SecondaryEmailAddress: p.SecondaryEmailAddress,
		PersonalEmailAddress:  p.PersonalEmailAddress,
		Phone:                 p.Phone,
		PhoneExtension:        p.PhoneExtension,
		HomePhone:             p.HomePhone,
		MobilePhone:           p.MobilePhone,
		LinkedinURL:           p.LinkedinURL,
		PersonalWebsite:       p.PersonalWebsite,
		TwitterHandle:         p.TwitterHandle,
		Title:                 p.Title,
		City:                  p.City,
		State:                 p.State,
		Country:               p.Country,
		WorkCity:              p.WorkCity,
		WorkState:             p.WorkState,
		WorkCountry:           p.WorkCountry,
		CRMURL:                p.CRMURL,
		CRMID:                 p.CRMID,
		AccountCRMID:          p.AccountCRMID,
		CRMObjectType:         p.CRMObjectType,
		OwnerCRMID:            p.OwnerCRMID,
		PersonCompanyName:     p.PersonCompanyName,
		PersonCompanyWebsite:  p.PersonCompanyWebsite,
		PersonCompanyIndustry: p.PersonCompanyIndustry,
		Locale:                p.Locale,
		LocaleUTCOffset:       p.LocaleUTCOffset,
		LastContactedType:     p.LastContactedType,
		JobSeniority:          p.JobSeniority,
		JobFunction:           p.JobFunction,
		ExternalSource:        p.ExternalSource,
		HotLead:               p.HotLead,
		DoNotContact:          p.DoNotContact,
		Bouncing:              p.Bouncing,
		EUResident:            p.EUResident,
		Starred:               p.Starred,
		Untouched:             p.Untouched,
		SuccessCount:          p.SuccessCount,

		AccountID:                  p.AccountID,
		OwnerID:                    p.OwnerID,
		LastContactedByID:          p.LastContactedByID,
		ImportID:                   p.ImportID,
		PersonStageID:              p.PersonStageID,
		MostRecentCadenceID:        p.MostRecentCadenceID,
		LastCompletedStepCadenceID: p.LastCompletedStepCadenceID,
		LastCompletedStepID:        p.LastCompletedStepID,

		CadenceIDs:          list(p.CadenceIDs),
		Tags:                list(p.Tags),
		ContactRestrictions: list(p.ContactRestrictions),
		CustomFields:        texts(p.CustomFields),
		Extra:               texts(p.Extra),
	}
	if !p.UpdatedAt.IsZero() {
		e.UpdatedAt = instant(&p.UpdatedAt)
	}
	if c := p.Counts; c != nil {
		e.EmailsSent, e.EmailsViewed, e.EmailsClicked = c.EmailsSent, c.EmailsViewed, c.EmailsClicked
		e.EmailsRepliedTo, e.EmailsBounced, e.Calls = c.EmailsRepliedTo, c.EmailsBounced, c.Calls
	}
	return e
}

// instant is a time as the schema carries it: UTC, to the microsecond.
func instant(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	at := t.UTC().Truncate(time.Microsecond)
	return &at
}

// list is never nil: the schema knows no null list.
func list[T any](values []T) []T {
	if values == nil {
		return []T{}
	}
	return values
}

// texts is never nil. Its values can be raw JSON, in which nothing has replaced bytes that are not UTF-8.
func texts(values map[string]string) map[string]string {
	valid := make(map[string]string, len(values))
	for name, value := range values {
		valid[name] = strings.ToValidUTF8(value, "\uFFFD")
	}
	return valid
}
