package forecast

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/revstream/revstream/producers/clari"
)

// supported is the configured types without those that the tenant has refused.
func (e *Exporter) supported() []string { return without(e.cfg.Types, e.unsupported) }

// leaveOut takes note of types that the tenant does not export. It says so once.
func (e *Exporter) leaveOut(ctx context.Context, refused []string) {
	if len(refused) == 0 {
		return
	}
	e.logger.WarnContext(ctx, "the tenant does not support export types, going on without them", "types", refused)
	e.unsupported = append(e.unsupported, refused...)
}

func without(types, dropped []string) []string {
	return slices.DeleteFunc(slices.Clone(types), func(t string) bool { return slices.Contains(dropped, t) })
}

// guesses is the types to ask for where Clari refuses some and does not say which: the fewest left out first, and before all
// else those that its specification both lists and lets tenants refuse. A refusal costs nothing of the quota.
type guesses [][]string

func guess(types []string) *guesses {
	var all guesses
	for set := 1; set < 1<<len(types)-1; set++ { // all but none and all of them
		var rest []string
		for i, t := range types {
			if set>>i&1 == 0 {
				rest = append(rest, t)
			}
		}
		all = append(all, rest)
	}
	unlikely := func(rest []string) int {
		dropped := without(types, rest)
		if len(without(dropped, []string{clari.TypeCRMTotal, clari.TypeCRMClosed})) == 0 {
			return len(dropped)
		}
		return len(types) + len(dropped)
	}
	slices.SortStableFunc(all, func(a, b []string) int { return cmp.Compare(unlikely(a), unlikely(b)) })
	return &all
}

var typeName = regexp.MustCompile(`[a-z]+(?:_[a-z]+)+`) // and no word of a sentence, such as forecast

// next returns what to ask for after a refusal of types, or nil if nothing is left to try. Types that the refusal names are left
// out, and nothing that has them is tried any more.
func (g *guesses) next(refused []string, refusal error) []string {
	if answer, ok := errors.AsType[*clari.APIError](refusal); ok {
		named := typeName.FindAllString(strings.ToLower(answer.Message), -1)
		rest := without(refused, named)
		// One that names all there is to name repeats what it was asked for.
		if len(rest) < len(refused) && slices.ContainsFunc(rest, typeName.MatchString) {
			*g = *guess(rest)
			return rest
		}
	}
	if len(*g) == 0 {
		return nil
	}
	next := (*g)[0]
	*g = (*g)[1:]
	return next
}
