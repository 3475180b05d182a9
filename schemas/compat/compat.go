// Package compat owns which changes of a topic's Avro schema break those who read it, and who they are.
package compat

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/avro"
)

// Text is a schema as it stands in a file.
type Text struct {
	File string
	Text string
}

// Check holds a schema to every text of it that was released: whoever reads with one of them must understand what is written with
// another, in both directions, and what a subscriber finds today, it must find tomorrow, meaning the same. Avro's own rules are the first half;
// they would let an optional field go, and microseconds become milliseconds. The errors name the field, why, and the subscribers, which are those of the schema's topics.
func Check(current Text, released []Text, subscribers []Subscriber) error {
	schema, err := avro.Parse(current.Text)
	if err != nil {
		return fmt.Errorf("%s: %w", current.File, err)
	}
	var errs []error
	told := map[string]bool{} // the fields that an error names
	for _, r := range released {
		before, err := avro.Parse(r.Text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.File, err))
			continue
		}
		var found differences
		found.node("", before.Root().ExpandReferences(), schema.Root().ExpandReferences())
		found.resolution(before, schema)
		for _, d := range found {
			if !told[d.field] {
				errs = append(errs, fmt.Errorf("%s: field %s: %s (%s has it otherwise); %s",
					current.File, d.field, d.why, r.File, readers(d.field, subscribers)))
			}
			told[d.field] = true
		}
	}
	return errors.Join(errs...)
}

// readers says who declared a field, by the name of the record's field that it is in.
func readers(field string, subscribers []Subscriber) string {
	name, _, _ := strings.Cut(field, ".")
	var who []string
	for _, s := range subscribers {
		if slices.Contains(s.Fields, name) {
			who = append(who, fmt.Sprintf("%s (%s, %s)", s.Name, s.Owner, s.Contact))
		}
	}
	if len(who) == 0 {
		return "no subscriber has declared it"
	}
	return "declared by " + strings.Join(who, ", ")
}

type difference struct{ field, why string }

type differences []difference

func (d *differences) add(field, format string, args ...any) {
	if field == "" || field == "(root)" {
		field = "(the record)"
	}
	*d = append(*d, difference{field, fmt.Sprintf(format, args...)})
}

// node compares what a reader finds in a place.
func (d *differences) node(at string, before, now *avro.SchemaNode) {
	if was, is := spelled(before), spelled(now); was != is {
		d.add(at, "its type was %s and is %s", was, is)
		return
	}
	for _, symbol := range before.Symbols {
		if !slices.Contains(now.Symbols, symbol) {
			d.add(at, "the symbol %s is gone", symbol)
		}
	}
	for i := range before.Fields {
		f := &before.Fields[i]
		name := strings.TrimPrefix(at+"."+f.Name, ".")
		j := slices.IndexFunc(now.Fields, func(n avro.SchemaField) bool { return n.Name == f.Name })
		if j < 0 {
			d.add(name, "it is gone (or renamed)")
			continue
		}
		d.node(name, &f.Type, &now.Fields[j].Type)
	}
	for i := range before.Branches {
		if i < len(now.Branches) {
			d.node(at, &before.Branches[i], &now.Branches[i])
		}
	}
	if before.Items != nil {
		d.node(at, before.Items, now.Items)
	}
	if before.Values != nil {
		d.node(at, before.Values, now.Values)
	}
}

// spelled is a node's type, without what is inside of records, arrays, maps and enums.
func spelled(n *avro.SchemaNode) string {
	text := n.Type
	switch n.Type {
	case "union":
		branches := make([]string, len(n.Branches))
		for i := range n.Branches {
			branches[i] = spelled(&n.Branches[i])
		}
		text = "[" + strings.Join(branches, ", ") + "]"
	case "record", "enum":
		text += " " + n.Name
	case "fixed":
		text += fmt.Sprintf(" %s(%d)", n.Name, n.Size)
	}
	if n.LogicalType == "decimal" {
		return fmt.Sprintf("%s decimal(%d, %d)", text, n.Precision, n.Scale)
	}
	return strings.TrimSpace(text + " " + n.LogicalType)
}

// resolution asks the Avro library whether each reads what the other writes.
func (d *differences) resolution(before, now *avro.Schema) {
	var wrong *avro.CompatibilityError
	if err := avro.CheckCompatibility(before, now); errors.As(err, &wrong) {
		d.add(wrong.Path, "readers of today cannot read what was written before: %s", wrong.Detail)
	}
	if err := avro.CheckCompatibility(now, before); errors.As(err, &wrong) {
		d.add(wrong.Path, "readers of before cannot read what is written now: %s", wrong.Detail)
	}
}
