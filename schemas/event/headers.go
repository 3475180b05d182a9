package event

import "time"

// Names of the headers that every entity record carries. They follow the
// CloudEvents Kafka binding in binary mode, and survive when the value cannot
// be decoded.
const (
	HeaderSpecVersion   = "ce_specversion"
	HeaderID            = "ce_id"
	HeaderType          = "ce_type"
	HeaderSource        = "ce_source"
	HeaderSubject       = "ce_subject"
	HeaderTime          = "ce_time"
	HeaderContentType   = "content-type"
	HeaderSchemaVersion = "schema-version"
	HeaderCorrelationID = "correlation-id"
)

// ContentType is the content-type header of an entity record.
const ContentType = "application/avro"

// Header is one header of a record.
type Header struct{ Key, Value string }

// Headers returns an event's headers. Source is the URI reference of the
// system of origin, such as "/clari"; schemaVersion the version of the topic's
// schema, such as "1". The traceparent header is the tracer's to add.
func Headers(e Event, source, schemaVersion string) []Header {
	head := e.Head()
	return []Header{
		{HeaderSpecVersion, "1.0"},
		{HeaderID, head.EventID.String()},
		{HeaderType, "com.revstream." + e.Entity() + ".v1"},
		{HeaderSource, source},
		{HeaderSubject, e.Key()},
		{HeaderTime, head.SourceVersion.UTC().Format(time.RFC3339Nano)},
		{HeaderContentType, ContentType},
		{HeaderSchemaVersion, schemaVersion},
		{HeaderCorrelationID, head.CorrelationID},
	}
}
