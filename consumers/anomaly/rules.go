package anomaly

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/shopspring/decimal"
	"go.yaml.in/yaml/v3"
)

// Rules say for which amounts other limits hold than the configured ones.
type Rules struct {
	// Floors by currency, in its units; the configured floor holds for the others.
	Floors map[string]decimal.Decimal `yaml:"floors"`
	// Rules are tried in order: the first that fits an amount holds for it.
	Rules []Rule `yaml:"rules"`
}

// Rule is what holds for the amounts that fit it.
type Rule struct {
	FieldID  string           `yaml:"field_id"` // empty: any
	Kind     string           `yaml:"kind"`     // empty: any
	Currency string           `yaml:"currency"` // empty: any
	Percent  *decimal.Decimal `yaml:"percent"`  // nil: the configured one
	Floor    *decimal.Decimal `yaml:"floor"`    // nil: the currency's
	Ignore   bool             `yaml:"ignore"`   // never open a review
}

// ReadRules reads a YAML file; a path of "" has no rules.
func ReadRules(path string) (Rules, error) {
	var rules Rules
	if path == "" {
		return rules, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return rules, fmt.Errorf("reading the rules of anomalies (ANOMALY_RULES or --rules): %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&rules); err != nil {
		return rules, fmt.Errorf("reading the rules of anomalies in %s: %w", path, err)
	}
	return rules, nil
}

func (r Rules) validate() error {
	var errs []error
	for currency, floor := range r.Floors {
		if floor.IsNegative() {
			errs = append(errs, fmt.Errorf("floors: %s: want 0 or more", currency))
		}
	}
	for i, rule := range r.Rules {
		if rule.Percent != nil && rule.Percent.IsNegative() || rule.Floor != nil && rule.Floor.IsNegative() {
			errs = append(errs, fmt.Errorf("rules: number %d: want a percent and a floor of 0 or more", i+1))
		}
		if rule.FieldID == "" && rule.Kind == "" && rule.Currency == "" && i < len(r.Rules)-1 {
			errs = append(errs, fmt.Errorf("rules: number %d fits every amount, and those after it are never tried: make it the last", i+1))
		}
	}
	return errors.Join(errs...)
}

// limits are what a move must exceed (percent) and reach (floor). none: no move is far.
type limits struct {
	percent, floor decimal.Decimal
	none           bool
}

func (cfg Config) limits(fieldID, kind, currency string) limits {
	l := limits{percent: cfg.Percent, floor: cfg.Floor}
	if floor, ok := cfg.Rules.Floors[currency]; ok {
		l.floor = floor
	}
	for _, rule := range cfg.Rules.Rules {
		if rule.FieldID != "" && rule.FieldID != fieldID || rule.Kind != "" && rule.Kind != kind || rule.Currency != "" && rule.Currency != currency {
			continue
		}
		if rule.Percent != nil {
			l.percent = *rule.Percent
		}
		if rule.Floor != nil {
			l.floor = *rule.Floor
		}
		l.none = rule.Ignore
		break
	}
	return l
}

var hundred = decimal.NewFromInt(100)

// far tells whether an amount moved too far. Where there was nothing before, no percentage says so, and the floor decides.
func (l limits) far(before, after decimal.Decimal) bool {
	moved := after.Sub(before).Abs()
	return !l.none && !moved.IsZero() && moved.GreaterThanOrEqual(l.floor) &&
		(before.IsZero() || moved.Mul(hundred).GreaterThan(before.Abs().Mul(l.percent)))
}

// percentOf is by how much an amount moved, in percent of what was before without its sign; nil where that was 0.
func percentOf(before, after decimal.Decimal) *decimal.Decimal {
	if before.IsZero() {
		return nil
	}
	p := after.Sub(before).Mul(hundred).DivRound(before.Abs(), 2)
	return &p
}
