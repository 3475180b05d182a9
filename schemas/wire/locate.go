package wire

import (
	"strings"

	"github.com/twmb/avro"
)

// located adds to the error of a body that could not be decoded where it is that the body stops being what its writer's
// schema says. Decoding does not keep count of where it is, so as to be fast; this goes over the body once more.
func (w *writer) located(invalid *InvalidError, body []byte) *InvalidError {
	s := structure{named: make(map[string]*avro.SchemaNode)}
	s.name(w.root)
	failed, _, _ := strings.Cut(invalid.Field, ".")
	place := func(left []byte) int { return headerSize + len(body) - len(left) }
	src := body
	for _, field := range w.root.Fields {
		rest, err := s.follow(&field.Type, src, 0)
		switch {
		case err != nil && (failed == "" || failed == field.Name):
			invalid.At = place(rest)
			if failed == "" {
				invalid.Field = field.Name
			}
			return invalid
		case field.Name == failed: // its bytes are of the field's form, and mean nothing
			invalid.At = place(src)
			return invalid
		case err != nil:
			return invalid
		}
		src = rest
	}
	return invalid
}

// structure follows the form of a schema's values, whatever they mean.
type structure struct{ named map[string]*avro.SchemaNode }

// name finds the types that others may refer to.
func (s structure) name(node *avro.SchemaNode) {
	if node == nil {
		return
	}
	if node.Name != "" {
		s.named[node.Name] = node
		s.named[node.Namespace+"."+node.Name] = node
	}
	for i := range node.Fields {
		s.name(&node.Fields[i].Type)
	}
	for i := range node.Branches {
		s.name(&node.Branches[i])
	}
	s.name(node.Items)
	s.name(node.Values)
}

// maxDepth of a value in itself. The decoders have a bound of their own.
const maxDepth = 1000

// follow returns what is left after a value of a type, or, with an error, what is left from the byte on that is wrong.
func (s structure) follow(node *avro.SchemaNode, src []byte, depth int) (rest []byte, err error) {
	if depth > maxDepth {
		return src, errWrong
	}
	switch node.Type {
	case "null":
		return src, nil
	case "boolean":
		return skip(src, 1)
	case "float":
		return skip(src, 4)
	case "double":
		return skip(src, 8)
	case "fixed":
		return skip(src, node.Size)
	case "int":
		_, rest, err = integer(src)
	case "long":
		_, rest, err = long(src)
	case "bytes", "string":
		_, rest, err = view(src)
	case "enum":
		_, rest, err = index(src, len(node.Symbols))
	case "union":
		i, rest, err := index(src, len(node.Branches))
		if err != nil {
			return src, err
		}
		return s.follow(&node.Branches[i], rest, depth+1)
	case "array":
		return blocks(src, func(src []byte) ([]byte, error) { return s.follow(node.Items, src, depth+1) })
	case "map":
		return blocks(src, func(src []byte) ([]byte, error) {
			_, rest, err := view(src)
			if err != nil {
				return src, err
			}
			return s.follow(node.Values, rest, depth+1)
		})
	case "record", "error":
		for i := range node.Fields {
			if src, err = s.follow(&node.Fields[i].Type, src, depth+1); err != nil {
				return src, err
			}
		}
		return src, nil
	default:
		of, ok := s.named[node.Type]
		if !ok {
			return src, errWrong
		}
		return s.follow(of, src, depth+1)
	}
	if err != nil {
		return src, err
	}
	return rest, nil
}

func skip(src []byte, n int) ([]byte, error) {
	if len(src) < n {
		return src, errShort
	}
	return src[n:], nil
}

// index reads the index of one of n symbols or branches.
func index(src []byte, n int) (int, []byte, error) {
	i, rest, err := integer(src)
	if err == nil && (i < 0 || int(i) >= n) {
		err = errWrong
	}
	return int(i), rest, err
}
