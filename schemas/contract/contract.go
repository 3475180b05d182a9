// Package contract owns what BI may rely on: the contracts, how they are read, and which changes of one break its readers.
package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/revstream/revstream/schemas"
)

// What a contract may say of its own changes.
const (
	AdditiveOnly = "additive_only" // columns come, none goes or changes
	None         = "none"          // tried out; nothing is promised yet
)

// How often a reader sees a fact.
const (
	EffectivelyOnce = "effectively_once" // once, however often it was delivered
	AtLeastOnce     = "at_least_once"    // a reader has to expect repetitions
)

// Contract is what is promised of one relation of the warehouse.
type Contract struct {
	Name          string   `yaml:"name"`        // <relation>_v<version>, also the name of its file
	Version       int      `yaml:"version"`     // raised by a breaking change, in a file and a relation of its own
	Relation      string   `yaml:"relation"`    // the view that readers select from
	Doc           string   `yaml:"doc"`         // what one row is
	Topic         string   `yaml:"topic"`       // that its rows come from; empty where they come from several
	PrimaryKey    []string `yaml:"primary_key"` // no two rows have the same values in these columns; NULL is one of the values
	Delivery      string   `yaml:"delivery"`
	SLA           SLA      `yaml:"sla"`
	Rows          Rows     `yaml:"rows"`
	Compatibility string   `yaml:"compatibility"`
	Owner         string   `yaml:"owner"`     // team that answers for it
	Consumers     []string `yaml:"consumers"` // who is told before it breaks
	Columns       []Column `yaml:"columns"`
}

// SLA bounds how late the rows may be. Zero bounds nothing.
type SLA struct {
	// FreshnessP95Minutes bounds ingested_at - observed_at, for 95 of 100 rows of the last 24 hours.
	FreshnessP95Minutes int `yaml:"freshness_p95_minutes"`
	// MaxAgeMinutes bounds the age of the newest ingested_at.
	MaxAgeMinutes int `yaml:"max_age_minutes"`
}

// Rows bounds how many there are: an alarm for what has gone empty, or out of hand. Nil bounds nothing.
type Rows struct {
	Min *uint64 `yaml:"min"`
	Max *uint64 `yaml:"max"`
}

// Column is a promised one. A relation may have more.
type Column struct {
	Name     string   `yaml:"name"`
	Type     string   `yaml:"type"`     // ClickHouse's, without Nullable and LowCardinality around it
	Nullable bool     `yaml:"nullable"` // the type admits NULL
	NotNull  bool     `yaml:"not_null"` // of a nullable one: there is no NULL nevertheless
	Allowed  []string `yaml:"allowed"`  // as texts; NULL is not among them and not refused by it
	Doc      string   `yaml:"doc"`
}

// Column returns the promised column of a name.
func (c Contract) Column(name string) (Column, bool) {
	i := slices.IndexFunc(c.Columns, func(col Column) bool { return col.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return c.Columns[i], true
}

// Files returns the contracts in the *.yaml of a folder, by name. All errors of all files are joined.
func Files(folder fs.FS) ([]Contract, error) {
	names, err := fs.Glob(folder, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing the contracts: %w", err)
	}
	var contracts []Contract
	var errs []error
	for _, name := range names {
		raw, err := fs.ReadFile(folder, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("reading contract %s: %w", name, err))
			continue
		}
		c, err := Parse(name, raw)
		if c.Name != "" && c.Name != strings.TrimSuffix(name, ".yaml") {
			err = errors.Join(err, fmt.Errorf("%s: name: %s would have to stand in %[2]s.yaml", name, c.Name))
		}
		contracts, errs = append(contracts, c), append(errs, err)
	}
	slices.SortFunc(contracts, func(a, b Contract) int { return strings.Compare(a.Name, b.Name) })
	return contracts, errors.Join(errs...)
}

// Parse reads a contract and validates it. Its errors name the file and the key.
func Parse(file string, raw []byte) (Contract, error) {
	var c Contract
	var errs []error
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	err := dec.Decode(&c)
	var wrong *yaml.TypeError
	switch {
	case errors.Is(err, io.EOF):
		return c, fmt.Errorf("%s: is empty", file)
	case errors.As(err, &wrong):
		for _, text := range wrong.Errors {
			errs = append(errs, fmt.Errorf("%s: %s", file, unknownKey.ReplaceAllString(text, "unknown key $1")))
		}
	case err != nil:
		return c, fmt.Errorf("%s: %w", file, err)
	}
	for _, err := range c.validate() {
		errs = append(errs, fmt.Errorf("%s: %w", file, err))
	}
	return c, errors.Join(errs...)
}

var (
	unknownKey = regexp.MustCompile(`field (\S+) not found in type \S+`)
	identifier = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	wrapped    = regexp.MustCompile(`^(Nullable|LowCardinality)\(`)
)

// problems are collected under the keys that they are about.
type problems []error

func (p *problems) add(key, format string, args ...any) {
	*p = append(*p, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
}

func (p *problems) require(key, value string, among ...string) {
	switch {
	case value == "":
		p.add(key, "is required")
	case len(among) > 0 && !slices.Contains(among, value):
		p.add(key, "is %q, and must be %s", value, strings.Join(among, " or "))
	}
}

func (c Contract) validate() problems {
	var p problems
	p.require("name", c.Name)
	p.require("relation", c.Relation)
	p.require("doc", c.Doc)
	p.require("owner", c.Owner)
	p.require("delivery", c.Delivery, EffectivelyOnce, AtLeastOnce)
	p.require("compatibility", c.Compatibility, AdditiveOnly, None)
	if c.Version < 1 {
		p.add("version", "must be 1 or more")
	}
	if c.Name != "" && (!identifier.MatchString(c.Name) || !strings.HasSuffix(c.Name, "_v"+strconv.Itoa(c.Version))) {
		p.add("name", "%q must be in snake_case and end in _v and the version, such as forecast_v%d", c.Name, max(c.Version, 1))
	}
	if c.Relation != "" && !identifier.MatchString(c.Relation) {
		p.add("relation", "%q is no name of a view", c.Relation)
	}
	if len(c.Consumers) == 0 {
		p.add("consumers", "are required: who is told before it breaks?")
	}
	if c.Topic != "" {
		topics, err := schemas.Topics()
		if err != nil {
			p.add("topic", "%v", err)
		} else if !slices.ContainsFunc(topics, func(t schemas.Topic) bool { return t.Name == c.Topic }) {
			p.add("topic", "%s is not in the catalogue of topics", c.Topic)
		}
	}
	if c.Rows.Min != nil && c.Rows.Max != nil && *c.Rows.Min > *c.Rows.Max {
		p.add("rows.min", "is more than rows.max")
	}
	c.validateColumns(&p)
	c.validateSLA(&p)
	return p
}

func (c Contract) validateColumns(p *problems) {
	if len(c.Columns) == 0 {
		p.add("columns", "are required")
	}
	seen := map[string]bool{}
	for i, col := range c.Columns {
		key := "columns." + col.Name
		if !identifier.MatchString(col.Name) {
			p.add(fmt.Sprintf("columns[%d].name", i), "%q is no name of a column", col.Name)
		} else if seen[col.Name] {
			p.add(key, "stands there twice")
		}
		seen[col.Name] = true
		p.require(key+".type", col.Type)
		p.require(key+".doc", col.Doc)
		if wrapped.MatchString(col.Type) {
			p.add(key+".type", "%s: leave LowCardinality out, and say nullable: true for Nullable", col.Type)
		}
		if col.NotNull && !col.Nullable {
			p.add(key+".not_null", "is for a nullable column; without nullable: true there is no NULL anyway")
		}
	}
	if len(c.PrimaryKey) == 0 {
		p.add("primary_key", "is required")
	}
	for i, name := range c.PrimaryKey {
		switch {
		case !seen[name]:
			p.add("primary_key", "%s is not among the columns", name)
		case slices.Contains(c.PrimaryKey[:i], name):
			p.add("primary_key", "%s stands there twice", name)
		}
	}
}

func (c Contract) validateSLA(p *problems) {
	for key, needs := range map[string][]string{"freshness_p95_minutes": {"observed_at", "ingested_at"}, "max_age_minutes": {"ingested_at"}} {
		minutes := c.SLA.FreshnessP95Minutes
		if key == "max_age_minutes" {
			minutes = c.SLA.MaxAgeMinutes
		}
		if minutes < 0 {
			p.add("sla."+key, "is less than 0")
		}
		for _, name := range needs {
			if _, ok := c.Column(name); minutes > 0 && !ok {
				p.add("sla."+key, "is measured by %s, which is not among the columns", name)
			}
		}
	}
}
