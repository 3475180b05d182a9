// Package table owns how events become the columns of a table: which columns there are, of which type, and what fills them.
//
// It knows no database, so that the packages that describe tables need none.
package table

// Column is one column of a table of events of type E.
type Column[E any] struct {
	Name string
	Type string // as ClickHouse writes it, such as "LowCardinality(String)"
	// Values returns the column's values of the events, in their order: a []V
	// for a column made by Of.
	Values func(events []E) any
}

// Of makes a column out of how one event fills it. V is what the database
// driver takes for the type; a *V is nullable.
func Of[E, V any](name, typ string, value func(E) V) Column[E] {
	return Column[E]{Name: name, Type: typ, Values: func(events []E) any {
		values := make([]V, len(events))
		for i, e := range events {
			values[i] = value(e)
		}
		return values
	}}
}
