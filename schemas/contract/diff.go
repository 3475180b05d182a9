package contract

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Change is what one version of a contract says otherwise than another.
type Change struct {
	Contract  string   `json:"contract"`
	Key       string   `json:"key"` // such as columns.value.type
	Breaking  bool     `json:"breaking"`
	What      string   `json:"what"`
	Consumers []string `json:"consumers,omitempty"` // of a breaking one: those of the older version
}

// Breaking is the error that names each change that breaks readers, with who they are and the way out; nil where none does.
func Breaking(changes []Change) error {
	var errs []error
	for _, c := range changes {
		if !c.Breaking {
			continue
		}
		out := fmt.Sprintf("leave %s as it is and put the change into %s, beside it and over a relation of its own", c.Contract, next(c.Contract))
		if c.Key == whole {
			out = "keep it until they have moved on"
		}
		errs = append(errs, fmt.Errorf("%s: %s: %s; that breaks %s: %s", c.Contract, c.Key, c.What, strings.Join(c.Consumers, ", "), out))
	}
	return errors.Join(errs...)
}

// next is the name of a contract's next version.
func next(name string) string {
	i := strings.LastIndex(name, "_v") + len("_v")
	version, err := strconv.Atoi(name[i:])
	if err != nil {
		return "a new contract"
	}
	return name[:i] + strconv.Itoa(version+1)
}

// whole is the key of a change of a contract as such.
const whole = "name"

// DiffAll compares the contracts of the same names. One that is new is an addition.
func DiffAll(older, newer []Contract) []Change {
	var changes []Change
	for _, o := range older {
		i := slices.IndexFunc(newer, func(n Contract) bool { return n.Name == o.Name })
		if i < 0 {
			changes = append(changes, Change{Contract: o.Name, Key: whole, Breaking: o.Compatibility != None, What: "the contract is gone", Consumers: o.Consumers})
			continue
		}
		changes = append(changes, Diff(o, newer[i])...)
	}
	for _, n := range newer {
		if !slices.ContainsFunc(older, func(o Contract) bool { return o.Name == n.Name }) {
			changes = append(changes, Change{Contract: n.Name, Key: whole, What: "the contract is new"})
		}
	}
	return changes
}

// Diff lists what the newer contract says otherwise. Whatever makes a promise weaker is breaking: somebody may have built on it.
// The bounds of the rows are no promise but an alarm.
func Diff(older, newer Contract) []Change {
	d := differ{older: older}
	d.text("relation", older.Relation, newer.Relation)
	d.text("topic", older.Topic, newer.Topic)
	d.text("primary_key", strings.Join(older.PrimaryKey, ", "), strings.Join(newer.PrimaryKey, ", "))
	d.weaker("delivery", older.Delivery, newer.Delivery, newer.Delivery == AtLeastOnce)
	d.weaker("compatibility", older.Compatibility, newer.Compatibility, newer.Compatibility == None)
	d.minutes("sla.freshness_p95_minutes", older.SLA.FreshnessP95Minutes, newer.SLA.FreshnessP95Minutes)
	d.minutes("sla.max_age_minutes", older.SLA.MaxAgeMinutes, newer.SLA.MaxAgeMinutes)
	for _, o := range older.Columns {
		if n, ok := newer.Column(o.Name); ok {
			d.column(o, n)
		} else {
			d.add("columns."+o.Name, true, "removed (or renamed)")
		}
	}
	for _, n := range newer.Columns {
		if _, ok := older.Column(n.Name); !ok {
			d.add("columns."+n.Name, false, "added, "+n.Type)
		}
	}
	d.weaker("doc", older.Doc, newer.Doc, false)
	d.weaker("rows.min", bound(older.Rows.Min), bound(newer.Rows.Min), false)
	d.weaker("rows.max", bound(older.Rows.Max), bound(newer.Rows.Max), false)
	d.weaker("owner", older.Owner, newer.Owner, false)
	d.weaker("consumers", strings.Join(older.Consumers, ", "), strings.Join(newer.Consumers, ", "), false)
	return d.changes
}

type differ struct {
	older   Contract
	changes []Change
}

func (d *differ) add(key string, breaking bool, what string) {
	change := Change{Contract: d.older.Name, Key: key, Breaking: breaking && d.older.Compatibility != None, What: what}
	if change.Breaking {
		change.Consumers = d.older.Consumers
	}
	d.changes = append(d.changes, change)
}

// text must stay as it is.
func (d *differ) text(key, older, newer string) { d.weaker(key, older, newer, true) }

func (d *differ) weaker(key, older, newer string, breaking bool) {
	if older != newer {
		d.add(key, breaking, fmt.Sprintf("%s becomes %s", orNone(older), orNone(newer)))
	}
}

// minutes may shrink; 0 promises nothing.
func (d *differ) minutes(key string, older, newer int) {
	d.weaker(key, minutes(older), minutes(newer), older > 0 && (newer == 0 || newer > older))
}

func (d *differ) column(older, newer Column) {
	key := "columns." + older.Name
	d.text(key+".type", older.Type, newer.Type)
	d.weaker(key+".nullable", strconv.FormatBool(older.Nullable), strconv.FormatBool(newer.Nullable), newer.Nullable)
	// What is not nullable any more has no NULL either.
	d.weaker(key+".not_null", strconv.FormatBool(older.NotNull), strconv.FormatBool(newer.NotNull), !newer.NotNull && newer.Nullable)
	if was, is := slices.Sorted(slices.Values(older.Allowed)), slices.Sorted(slices.Values(newer.Allowed)); !slices.Equal(was, is) {
		// A reader that filters by a value that goes finds nothing; one that knows every value meets a new one.
		d.add(key+".allowed", len(was) > 0, fmt.Sprintf("%s becomes %s", orNone(strings.Join(was, ", ")), orNone(strings.Join(is, ", "))))
	}
	d.weaker(key+".doc", older.Doc, newer.Doc, false)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func minutes(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func bound(n *uint64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatUint(*n, 10)
}
