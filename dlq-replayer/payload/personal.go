package payload

import (
	"fmt"

	"github.com/twmb/avro"
)

// Personal says of each field of a record's schema whether it may hold personal data. What it does not name is not known.
func Personal(schema string) (map[string]bool, error) {
	parsed, err := avro.Parse(schema)
	if err != nil {
		return nil, fmt.Errorf("parsing the schema: %w", err)
	}
	fields := make(map[string]bool)
	for _, field := range parsed.Root().Fields {
		fields[field.Name] = personal(field)
	}
	return fields, nil
}
