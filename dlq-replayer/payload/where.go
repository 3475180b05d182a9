package payload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas/wire"
)

// environment is what an expression may name.
type environment struct {
	// Value is nil if it cannot be decoded. Its decimals are floats, its times are times, its enums and UUIDs are texts.
	Value         map[string]any    `expr:"value"`
	Key           string            `expr:"key"`
	Topic         string            `expr:"topic"`
	Reason        string            `expr:"reason"`
	Message       string            `expr:"message"`
	Stage         string            `expr:"stage"`
	Group         string            `expr:"group"`
	EventID       string            `expr:"event_id"`
	CorrelationID string            `expr:"correlation_id"`
	Partition     int               `expr:"partition"` // of the letter, as the offset
	Offset        int               `expr:"offset"`
	Attempts      int               `expr:"attempts"`
	Replays       int               `expr:"replays"`
	Schema        int               `expr:"schema"` // ID in the registry; 0 if the value names none
	FirstFailure  time.Time         `expr:"first_failure"`
	LastFailure   time.Time         `expr:"last_failure"`
	Headers       map[string]string `expr:"headers"`
}

// Bounds of an expression: whoever may look at letters must not be able to keep the program busy, or fill its memory.
const (
	maxNodes     = 200
	memoryBudget = 100_000 // elements that one evaluation makes
)

// allowed are the functions of expressions: those that look at what is there. What makes longer texts and lists is not among them.
var allowed = []string{
	"all", "any", "count", "none", "one", "len", "type", "abs", "ceil", "floor", "round", "int", "float", "string",
	"trim", "trimPrefix", "trimSuffix", "upper", "lower", "indexOf", "lastIndexOf", "hasPrefix", "hasSuffix",
	"max", "min", "first", "last", "get", "keys", "values", "now", "date", "duration",
}

// WhereError says that an expression cannot be evaluated on a letter for its types, which are most likely those of every letter
// of the topic. The letter does not match. Its text shows the place in the expression and never a value.
type WhereError struct{ text string }

func (e *WhereError) Error() string { return e.text }

// Compile returns what makes of an expression, in the language of expr-lang.org, a function that tells whether it is true of a
// letter. Its errors show the place in the expression. Unless reveal is set, what may be personal data is Mask to it.
//
// Where there is nothing, such as a field of a value that cannot be decoded, an expression gets nil. Nil is not equal to anything, and
// what cannot be done with it makes the letter not match. The function may be called concurrently; its errors are WhereErrors,
// or the schema source's.
func Compile(reader *Reader) func(where string, reveal bool) (func(ctx context.Context, letter deadletter.Letter) (bool, error), error) {
	return func(where string, reveal bool) (func(context.Context, deadletter.Letter) (bool, error), error) {
		p, err := parse(where)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, letter deadletter.Letter) (bool, error) {
			env, err := reader.environment(ctx, letter, p.usesValue, reveal)
			if err != nil {
				return false, err
			}
			return p.matches(env)
		}, nil
	}
}

type program struct {
	code      *vm.Program
	machines  sync.Pool // of *vm.VM, each for one evaluation at a time
	usesValue bool
}

func parse(where string) (*program, error) {
	bounds := &bounds{}
	code, err := expr.Compile(where, expr.Env(environment{}), expr.AsBool(), expr.MaxNodes(maxNodes), expr.Patch(bounds))
	if err == nil && bounds.broken != nil {
		err = bounds.broken.Bind(file.NewSource(where))
	}
	if err != nil {
		return nil, fmt.Errorf("the expression cannot be used: %w", err)
	}
	return &program{
		code: code, usesValue: bounds.usesValue,
		machines: sync.Pool{New: func() any { return &vm.VM{MemoryBudget: memoryBudget} }},
	}, nil
}

// bounds finds what an expression must not do, and whether it needs the value.
type bounds struct {
	usesValue bool
	broken    *file.Error
}

// Visit implements ast.Visitor. It sees what is within a node before the node.
func (b *bounds) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		b.usesValue = b.usesValue || n.Value == "value" || n.Value == "$env"
	case *ast.BuiltinNode:
		if !slices.Contains(allowed, n.Name) {
			b.refuse(n, "function "+n.Name+" is not allowed")
		}
	case *ast.VariableDeclaratorNode:
		b.refuse(n, "variables are not allowed")
	case *ast.BinaryNode:
		if n.Operator == ".." {
			b.refuse(n, "ranges are not allowed: compare with both ends")
		}
	case *ast.PredicateNode:
		inner := ast.Find(n.Node, func(n ast.Node) bool { _, ok := n.(*ast.PredicateNode); return ok })
		if inner != nil {
			b.refuse(n, "a condition on elements within another one is not allowed")
		}
	}
}

func (b *bounds) refuse(node ast.Node, why string) {
	if b.broken == nil {
		b.broken = &file.Error{Location: node.Location(), Message: why}
	}
}

func (p *program) matches(env *environment) (bool, error) {
	machine := p.machines.Get().(*vm.VM)
	defer p.machines.Put(machine)
	out, err := machine.Run(p.code, env)
	if err != nil {
		return false, told(err)
	}
	matches, _ := out.(bool)
	return matches, nil
}

// byTypes are the errors of evaluation that types alone decide. Others may quote values.
var byTypes = func() *regexp.Regexp {
	const of = `(?:bool|string|int|int32|int64|float32|float64|time\.Time|time\.Duration|time\.Month|\[\]uint8|\[\]interface \{\}|map\[string\](?:interface \{\}|string))`
	return regexp.MustCompile(`^(?s:` + strings.Join([]string{
		`invalid operation: ` + of + ` (?:<|>|<=|>=|\+|-|\*|/|%) ` + of, `invalid operation: - ` + of, `invalid operation: \w+\(` + of + `\)`,
		`invalid operation: cannot call non-function of type ` + of, `invalid argument for len \(type ` + of + `\)`,
		`operator "in" not defined on ` + of, `interface conversion: interface \{\} is ` + of + `, not ` + of,
		`cannot (?:fetch|get) .* from (` + of + `)`, // it may quote what it looked for
	}, "|") + `)$`)
}()

// told makes an error of one that types decide. Any other, such as for a field that is not there, only keeps the letter from
// matching.
func told(err error) error {
	failed, ok := errors.AsType[*file.Error](err)
	if !ok {
		return nil
	}
	message := failed.Message
	found := byTypes.FindStringSubmatch(message)
	if found == nil {
		return nil
	}
	if of := found[1]; of != "" {
		message = "there is nothing within a " + of
	}
	return &WhereError{fmt.Sprintf("the expression cannot be evaluated: %s (%d:%d)%s", message, failed.Line, failed.Column+1, failed.Snippet)}
}

func (r *Reader) environment(ctx context.Context, l deadletter.Letter, withValue, reveal bool) (*environment, error) {
	env := &environment{
		Key: string(l.Key), Topic: l.Topic, Reason: l.Reason, Message: l.Message, Stage: l.Stage, Group: l.Group,
		EventID: l.EventID, CorrelationID: l.CorrelationID, Partition: int(l.Partition), Offset: int(l.Offset),
		Attempts: l.Attempts, Replays: l.Replays, Schema: SchemaID(l.Value), FirstFailure: l.FirstFailure, LastFailure: l.LastFailure,
		Headers: make(map[string]string, len(l.Headers)),
	}
	for _, h := range l.Headers {
		env.Headers[h.Key] = string(h.Value)
	}
	if !withValue {
		return env, nil
	}
	var err error
	env.Value, err = r.value(ctx, l, reveal)
	if _, ok := errors.AsType[*wire.InvalidError](err); ok {
		return env, nil
	}
	return env, err
}

// value is a letter's value as expressions see it.
func (r *Reader) value(ctx context.Context, l deadletter.Letter, reveal bool) (map[string]any, error) {
	if l.Stage == string(deadletter.StageProduce) {
		sent, err := source(l.Value, reveal)
		fields, _ := expressible(sent).(map[string]any)
		return fields, err
	}
	doc, err := r.Read(ctx, l.Value)
	if err != nil {
		return nil, err
	}
	for i, field := range doc.root.Fields {
		value := doc.native[field.Name]
		if !reveal && value != nil && doc.personal[i] {
			doc.native[field.Name] = Mask
			continue
		}
		doc.native[field.Name] = expressible(value)
	}
	return doc.native, nil
}

// expressible turns a decoded value into what expressions compare.
func expressible(value any) any {
	switch v := value.(type) {
	case *big.Rat:
		f, _ := v.Float64()
		return f
	case json.Number:
		f, _ := v.Float64()
		return f
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = expressible(item)
		}
		return items
	case map[string]any:
		fields := make(map[string]any, len(v))
		for name, field := range v {
			fields[name] = expressible(field)
		}
		return fields
	default:
		return value
	}
}
