package metrics

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// readModule reads every package of a module that registers metrics.
func readModule(root, module string) ([]Metric, error) {
	byDir := map[string][]ast.Node{}
	files := token.NewFileSet()
	err := filepath.WalkDir(filepath.Join(root, module), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parsing %s: %w", path, err)
		}
		byDir[filepath.Dir(path)] = append(byDir[filepath.Dir(path)], file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the sources: %w", err)
	}
	var (
		all  []Metric
		errs []error
	)
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		name, err := filepath.Rel(root, dir)
		if err != nil {
			return nil, fmt.Errorf("reading the sources: %w", err)
		}
		name = filepath.ToSlash(name)
		found, err := newPackage(files, byDir[dir]).metrics()
		errs = append(errs, err)
		if len(found) > 0 && emitters[name] == nil {
			errs = append(errs, fmt.Errorf("%s registers %s: say in deploy/local/metrics which services serve it", name, found[0].Name))
		}
		for i := range found {
			found[i].Services = emitters[name]
		}
		all = append(all, found...)
	}
	return all, errors.Join(errs...)
}

// A goPackage is the syntax of one package. Metrics are looked for where they are made: options with a name, and descriptions. A
// name that is a parameter of the function around it is looked up at that function's callers.
type goPackage struct {
	files   *token.FileSet
	syntax  []ast.Node // its files
	consts  map[string]ast.Expr
	slices  map[string][]ast.Expr // what local variables are defined as, in their order
	wrapped []string              // labels that the package wraps its registerer with
	values  map[string]string
	errs    []error
	found   []Metric
}

// values of a variable or field that holds a description: the types of the constant metrics that are made of it. "" has all.
const anyDescription = ""

func newPackage(files *token.FileSet, syntax []ast.Node) *goPackage {
	p := &goPackage{files: files, syntax: syntax, consts: map[string]ast.Expr{}, slices: map[string][]ast.Expr{}, values: map[string]string{}}
	for _, file := range syntax {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GenDecl:
				p.declared(n)
			case *ast.AssignStmt:
				if len(n.Lhs) == 1 && n.Tok == token.DEFINE {
					p.slices[last(n.Lhs[0])] = append(p.slices[last(n.Lhs[0])], n.Rhs[0])
				}
			case *ast.CallExpr:
				switch called(n) {
				case "WrapRegistererWith":
					p.wrapped = append(p.wrapped, p.keys(n.Args[0], nil)...)
				case "MustNewConstMetric", "NewConstMetric":
					p.constMetric(last(n.Args[0]), strings.ToLower(strings.TrimSuffix(last(n.Args[1]), "Value")))
				case "MustNewConstHistogram", "NewConstHistogram":
					p.constMetric(last(n.Args[0]), histogram)
				}
			}
			return true
		})
	}
	return p
}

func (p *goPackage) declared(d *ast.GenDecl) {
	if d.Tok != token.CONST {
		return
	}
	for _, spec := range d.Specs {
		if s, ok := spec.(*ast.ValueSpec); ok && len(s.Names) == len(s.Values) {
			for i, name := range s.Names {
				p.consts[name.Name] = s.Values[i]
			}
		}
	}
}

func (p *goPackage) constMetric(description, kind string) {
	for _, name := range []string{description, anyDescription} {
		if before, seen := p.values[name]; seen && before != kind {
			kind = "" // of several types
		}
		p.values[name] = kind
	}
}

// scope is what the parameters of the functions around a place are bound to, for one of their callers.
type scope map[string][]ast.Expr

func (p *goPackage) metrics() ([]Metric, error) {
	for _, file := range p.syntax {
		var around []ast.Node // from the file to the node in hand
		ast.Inspect(file, func(n ast.Node) bool {
			if n == nil {
				around = around[:len(around)-1]
				return true
			}
			p.visit(n, around)
			around = append(around, n)
			return true
		})
	}
	return p.found, errors.Join(p.errs...)
}

func (p *goPackage) visit(n ast.Node, around []ast.Node) {
	switch n := n.(type) {
	case *ast.CompositeLit:
		kind, isOptions := strings.CutSuffix(last(n.Type), "Opts")
		kind = strings.ToLower(kind)
		if !isOptions || (kind != counter && kind != gauge && kind != histogram) {
			return
		}
		fields := map[string]ast.Expr{}
		for _, element := range n.Elts {
			if pair, ok := element.(*ast.KeyValueExpr); ok {
				fields[last(pair.Key)] = pair.Value
			}
		}
		for _, composed := range []string{"Namespace", "Subsystem"} {
			if fields[composed] != nil {
				p.fail(n, "a metric's name is written in one piece: "+composed)
			}
		}
		labels := []ast.Expr{fields["ConstLabels"]}
		if call, ok := around[len(around)-1].(*ast.CallExpr); ok && strings.HasSuffix(called(call), "Vec") && len(call.Args) > 1 {
			labels = append(labels, call.Args[1])
		}
		p.add(n, around, kind, fields["Name"], fields["Help"], labels)
	case *ast.CallExpr:
		if called(n) == "NewDesc" && len(n.Args) == 4 {
			kind := p.values[assigned(n, around)]
			if kind == "" {
				kind = p.values[anyDescription]
			}
			p.add(n, around, kind, n.Args[0], n.Args[1], n.Args[2:])
		}
	}
}

// add takes down a metric, once for each caller where its name comes from one.
func (p *goPackage) add(at ast.Node, around []ast.Node, kind string, name, help ast.Expr, labels []ast.Expr) {
	scopes := []scope{nil}
	if ident, ok := name.(*ast.Ident); ok && p.consts[ident.Name] == nil {
		scopes = p.callers(ident.Name, around)
	}
	if len(scopes) == 0 {
		p.fail(at, "the metric's name is neither a literal nor what callers in this package give literally")
	}
	for _, s := range scopes {
		m := Metric{Type: kind, Name: p.text(name, s), Help: p.text(help, s), Labels: slices.Clone(p.wrapped)}
		for _, expr := range labels {
			m.Labels = append(m.Labels, p.keys(expr, s)...)
		}
		slices.Sort(m.Labels)
		m.Labels = slices.Compact(m.Labels)
		if m.Name == "" || m.Help == "" || m.Type == "" {
			p.fail(at, fmt.Sprintf("the metric's name %q, help %q or type %q is not told by the source", m.Name, m.Help, m.Type))
			continue
		}
		p.found = append(p.found, m)
	}
}

// callers binds the parameters of the innermost function that has one of this name, for each of its calls.
func (p *goPackage) callers(parameter string, around []ast.Node) []scope {
	for i, node := range slices.Backward(around) {
		var (
			kind *ast.FuncType
			name string
			in   []ast.Node // where its callers are
		)
		switch f := node.(type) {
		case *ast.FuncDecl:
			kind, name, in = f.Type, f.Name.Name, p.syntax
		case *ast.FuncLit:
			kind, name, in = f.Type, assigned(f, around[:i]), around[1:2] // the declaration that the literal is in
		default:
			continue
		}
		var names []string
		variadic := false
		for _, field := range kind.Params.List {
			for _, n := range field.Names {
				names = append(names, n.Name)
			}
			_, variadic = field.Type.(*ast.Ellipsis)
		}
		if slices.Contains(names, parameter) {
			var scopes []scope
			for _, node := range in {
				scopes = append(scopes, calls(node, name, names, variadic)...)
			}
			return scopes
		}
	}
	return nil
}

func calls(in ast.Node, name string, parameters []string, variadic bool) []scope {
	var scopes []scope
	ast.Inspect(in, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || called(call) != name || len(call.Args) < len(parameters)-1 {
			return true
		}
		s := scope{}
		for i, parameter := range parameters {
			if variadic && i == len(parameters)-1 {
				s[parameter] = call.Args[i:]
			} else if i < len(call.Args) {
				s[parameter] = call.Args[i : i+1]
			}
		}
		scopes = append(scopes, s)
		return true
	})
	return scopes
}

// text is the value of a constant string expression, or "".
func (p *goPackage) text(expr ast.Expr, s scope) string {
	switch e := expr.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err == nil && e.Kind == token.STRING {
			return text
		}
	case *ast.BinaryExpr:
		return p.text(e.X, s) + p.text(e.Y, s)
	case *ast.ParenExpr:
		return p.text(e.X, s)
	case *ast.Ident:
		if bound := s[e.Name]; len(bound) == 1 {
			return p.text(bound[0], nil)
		}
		return p.text(p.consts[e.Name], s)
	}
	return ""
}

// keys are the label names of a slice or of a map.
func (p *goPackage) keys(expr ast.Expr, s scope) []string {
	var elements []ast.Expr
	switch e := expr.(type) {
	case nil:
		return nil
	case *ast.CompositeLit:
		elements = e.Elts
	case *ast.Ident:
		if e.Name == "nil" {
			return nil
		}
		for _, defined := range slices.Backward(p.slices[e.Name]) {
			if _, literal := defined.(*ast.CompositeLit); literal && defined.End() < e.Pos() {
				return p.keys(defined, s)
			}
		}
		bound, known := s[e.Name]
		if !known {
			p.fail(e, "the metric's labels are no literal")
			return nil
		}
		if len(bound) == 1 {
			if _, isText := bound[0].(*ast.BasicLit); !isText {
				return p.keys(bound[0], nil)
			}
		}
		elements = bound
	default:
		p.fail(e, "the metric's labels are no literal")
		return nil
	}
	var names []string
	for _, element := range elements {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			element = pair.Key
		}
		name := p.text(element, s)
		if name == "" {
			p.fail(element, "the metric's label is no literal")
		}
		names = append(names, name)
	}
	return names
}

func (p *goPackage) fail(at ast.Node, what string) {
	p.errs = append(p.errs, fmt.Errorf("%s: %s", p.files.Position(at.Pos()), what))
}

// called is the last name of what a call calls.
func called(call *ast.CallExpr) string { return last(call.Fun) }

// last name of a selector: Opts of prometheus.Opts.
func last(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// assigned is the name of the variable, field or key that a value is given to.
func assigned(value ast.Expr, around []ast.Node) string {
	switch parent := around[len(around)-1].(type) {
	case *ast.ValueSpec:
		if i := slices.Index(parent.Values, value); i >= 0 {
			return parent.Names[i].Name
		}
	case *ast.AssignStmt:
		if i := slices.Index(parent.Rhs, value); i >= 0 {
			return last(parent.Lhs[i])
		}
	case *ast.KeyValueExpr:
		return last(parent.Key)
	}
	return ""
}
