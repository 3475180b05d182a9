package clickhousesink

import "github.com/revstream/revstream/pipeline/resilience"

// rejects is the class of what says "this row, never": trying again, now or in
// an hour, gives the same answer, and the row is poison. Every other class is an
// outage, and waited for.
const rejects resilience.Class = "rejects"

// code is what an error of ClickHouse says.
type code struct {
	name  string // as in ClickHouse's src/Common/ErrorCodes.cpp, where the numbers are from
	class resilience.Class
	why   string // when ClickHouse says it to an insert or a look-up of ours, which decides the class
}

// codes has every error of ClickHouse that is known here. One that is not is an
// outage, too: to wait with a code that will never pass costs time and raises
// an alert; to dead-letter on one that would have passed costs data's order.
var codes = map[int32]code{
	6:   {"CANNOT_PARSE_TEXT", rejects, "the text of a value is none of its type"},
	27:  {"CANNOT_PARSE_INPUT_ASSERTION_FAILED", rejects, "the text of a value lacks a delimiter that its type demands"},
	38:  {"CANNOT_PARSE_DATE", rejects, "the text of a value is no date"},
	41:  {"CANNOT_PARSE_DATETIME", rejects, "the text of a value is no time"},
	53:  {"TYPE_MISMATCH", rejects, "a value has no counterpart in the column's type"},
	69:  {"ARGUMENT_OUT_OF_BOUND", rejects, "a value exceeds the range of the column's decimal or time"},
	70:  {"CANNOT_CONVERT_TYPE", rejects, "a value cannot be cast to the column's type"},
	72:  {"CANNOT_PARSE_NUMBER", rejects, "the text of a value is no number"},
	117: {"INCORRECT_DATA", rejects, "the bytes of a value are none of its type"},
	131: {"TOO_LARGE_STRING_SIZE", rejects, "a value is longer than the column's FixedString"},
	321: {"VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", rejects, "a value exceeds the range of the column's type"},
	349: {"CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", rejects, "a value is missing where the column has none for that"},
	376: {"CANNOT_PARSE_UUID", rejects, "the text of a value is no UUID"},
	407: {"DECIMAL_OVERFLOW", rejects, "a value has more digits than the column's decimal"},
	469: {"VIOLATED_CONSTRAINT", rejects, "the row is against a constraint of the table"},
	691: {"UNKNOWN_ELEMENT_OF_ENUM", rejects, "a value is not among those of the column's enum"},

	159: {"TIMEOUT_EXCEEDED", resilience.Passes, "the statement took longer than max_execution_time: load"},
	160: {"TOO_SLOW", resilience.Passes, "the statement was forecast to take too long: load"},
	173: {"CANNOT_ALLOCATE_MEMORY", resilience.Passes, "the machine is out of memory"},
	201: {"QUOTA_EXCEEDED", resilience.Passes, "the user's quota is used up until its interval ends"},
	202: {"TOO_MANY_SIMULTANEOUS_QUERIES", resilience.Passes, "the server has as many statements as it takes"},
	203: {"NO_FREE_CONNECTION", resilience.Passes, "the server has as many connections as it takes"},
	209: {"SOCKET_TIMEOUT", resilience.Passes, "the server waited too long for the network"},
	210: {"NETWORK_ERROR", resilience.Passes, "the server lost a connection"},
	225: {"NO_ZOOKEEPER", resilience.Passes, "the server has lost its keeper"},
	236: {"ABORTED", resilience.Passes, "the server is shutting down"},
	241: {"MEMORY_LIMIT_EXCEEDED", resilience.Passes, "the statement, user or server is over its memory"},
	252: {"TOO_MANY_PARTS", resilience.Passes, "merges lag behind inserts"},
	279: {"ALL_CONNECTION_TRIES_FAILED", resilience.Passes, "the shards behind a distributed table are away"},
	285: {"TOO_FEW_LIVE_REPLICAS", resilience.Passes, "insert_quorum finds too few replicas alive"},
	286: {"UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE", resilience.Passes, "an insert before this one waits for its quorum"},
	319: {"UNKNOWN_STATUS_OF_INSERT", resilience.Passes, "the insert may be there: doing it again is harmless"},
	373: {"SESSION_IS_LOCKED", resilience.Passes, "another statement has the session"},
	394: {"QUERY_WAS_CANCELLED", resilience.Passes, "somebody killed the statement"},
	439: {"CANNOT_SCHEDULE_TASK", resilience.Passes, "the server has no thread left"},
	999: {"KEEPER_EXCEPTION", resilience.Passes, "the keeper lost the session or its leader"},

	16:  {"NO_SUCH_COLUMN_IN_TABLE", resilience.Operator, "the table is not migrated"},
	20:  {"NUMBER_OF_COLUMNS_DOESNT_MATCH", resilience.Operator, "the table is not the one that the statement means"},
	47:  {"UNKNOWN_IDENTIFIER", resilience.Operator, "the ledger has not the column that is looked up"},
	60:  {"UNKNOWN_TABLE", resilience.Operator, "the table is not migrated"},
	62:  {"SYNTAX_ERROR", resilience.Operator, "the server is older than the statement, or something rewrites it"},
	75:  {"CANNOT_WRITE_TO_FILE_DESCRIPTOR", resilience.Operator, "the disk is full or broken"},
	76:  {"CANNOT_OPEN_FILE", resilience.Operator, "the disk is broken, or the server is out of file descriptors"},
	81:  {"UNKNOWN_DATABASE", resilience.Operator, "CLICKHOUSE_URL names a database that is not there"},
	164: {"READONLY", resilience.Operator, "the user's profile is read-only"},
	192: {"UNKNOWN_USER", resilience.Operator, "CLICKHOUSE_URL names a user that is not there"},
	193: {"WRONG_PASSWORD", resilience.Operator, "the password is wrong"},
	194: {"REQUIRED_PASSWORD", resilience.Operator, "the password is missing"},
	218: {"TABLE_IS_DROPPED", resilience.Operator, "somebody drops the table"},
	242: {"TABLE_IS_READ_ONLY", resilience.Operator, "the replica has lost its metadata in the keeper"},
	243: {"NOT_ENOUGH_SPACE", resilience.Operator, "the disk is full"},
	291: {"DATABASE_ACCESS_DENIED", resilience.Operator, "the user may not see the database"},
	497: {"ACCESS_DENIED", resilience.Operator, "the user lacks a right"},
	499: {"S3_ERROR", resilience.Operator, "the object store behind the table refuses"},
	516: {"AUTHENTICATION_FAILED", resilience.Operator, "the user or the password is wrong"},
}
