package verify

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/money"
)

// content is what an event says, by column, as ClickHouse prints it in JSON. Who observed it and when is not part of it:
// that is of whichever record of the event came first.
func content(e event.Event) map[string]any {
	columns := make(map[string]any)
	for field, value := range reflect.ValueOf(e).Elem().Fields() {
		name := field.Tag.Get("avro")
		if name != "" && name != "job_id" {
			columns[name] = printed(name, value)
		}
	}
	return columns
}

// printed is a value in the form in which encoding/json reads ClickHouse's.
func printed(column string, value reflect.Value) any {
	if value.Kind() == reflect.Pointer {
		if value.IsNil() {
			return nil
		}
		value = value.Elem()
	}
	switch v := value.Interface().(type) {
	case string, bool:
		return v
	case int32, int64:
		return json.Number(fmt.Sprint(v))
	case money.Amount:
		return v.String()
	case time.Time:
		if strings.HasSuffix(column, "_start") || strings.HasSuffix(column, "_end") {
			return v.Format(time.DateOnly)
		}
		return stamp(v)
	case map[string]string:
		entries := make(map[string]any, len(v))
		for name, text := range v {
			entries[name] = text
		}
		return entries
	}
	items := make([]any, value.Len())
	for i := range items {
		items[i] = printed(column, value.Index(i))
	}
	return items
}

// stamp is a time as ClickHouse prints a DateTime64(6).
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05.000000") }

func same(want, got any) bool { return reflect.DeepEqual(want, got) }
