package forecast

import (
	"encoding/binary"
	"time"
)

// AvroSchemaFile is the schema of AppendAvro.
func (*Forecast) AvroSchemaFile() string { return SchemaFile }

// AppendAvro appends the event as the newest schema writes it: what
// Schema.AppendEncode appends to a valid event, in a fifth of the time. The
// tests hold the two together.
func (f *Forecast) AppendAvro(dst []byte) []byte {
	dst = f.Envelope.AppendAvro(dst)
	return appendString(f.AppendContent(dst), f.JobID)
}

// AppendContent appends what the source says of the entry, as the newest schema
// writes it: the fields between the envelope, which they follow, and the job that
// happened to carry them. Two observations of one state have equal content.
func (f *Forecast) AppendContent(dst []byte) []byte {
	for _, s := range [...]string{f.ForecastID, f.TimePeriodID, f.TimeFrameID, f.UserID, f.FieldID, f.Kind} {
		dst = appendString(dst, s)
	}
	if f.Value == nil {
		dst = append(dst, null)
	} else {
		dst = append(append(dst, present), f.Value[:]...)
	}
	dst = appendOptional(appendOptional(dst, f.CurrencyCode), f.CurrencySymbol)
	dst = append(dst, 0)
	if f.IsUpdated {
		dst[len(dst)-1] = 1
	}
	dst = appendOptional(dst, f.UpdatedBy)
	if f.UpdatedOn == nil {
		dst = append(dst, null)
	} else {
		dst = binary.AppendVarint(append(dst, present), f.UpdatedOn.UnixMicro())
	}
	for _, s := range [...]*string{
		f.UserCRMID, f.UserEmail, f.UserName, f.ScopeID, f.HierarchyID, f.HierarchyName, f.ParentHierarchyID, f.ParentHierarchyName,
		f.FieldName, f.FieldType, f.TimePeriodType, f.TimePeriodLabel,
	} {
		dst = appendOptional(dst, s)
	}
	if f.TimePeriodYear == nil {
		dst = append(dst, null)
	} else {
		dst = binary.AppendVarint(append(dst, present), int64(*f.TimePeriodYear))
	}
	dst = appendDate(appendDate(dst, f.TimePeriodStart), f.TimePeriodEnd)
	dst = appendOptional(dst, f.TimePeriodCRMID)
	return appendDate(appendDate(dst, f.TimeFrameStart), f.TimeFrameEnd)
}

// Avro's index of a branch of ["null", …], as it is written.
const (
	null    = 0
	present = 2
)

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendVarint(dst, int64(len(s))), s...)
}

func appendOptional(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, null)
	}
	return appendString(append(dst, present), *s)
}

// appendDate appends the day since 1970 that t's own clock shows.
func appendDate(dst []byte, t *time.Time) []byte {
	if t == nil {
		return append(dst, null)
	}
	const day = 24 * 60 * 60
	_, offset := t.Zone()
	seconds := t.Unix() + int64(offset)
	days := seconds / day
	if seconds%day < 0 {
		days--
	}
	return binary.AppendVarint(append(dst, present), days)
}
