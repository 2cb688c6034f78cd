package strictyaml

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxAliases is how many aliases, or merges, are followed in a row. It makes a cycle an
// error.
const maxAliases = 16

// An entry is one key of a mapping.
type entry struct {
	key   string
	pos   *token.Position
	value ast.Node
}

// collectAnchors returns the anchored nodes by name. If several have the same name, the
// last one counts.
func collectAnchors(root ast.Node) map[string]ast.Node {
	anchors := anchorVisitor{}
	ast.Walk(anchors, root)
	return anchors
}

type anchorVisitor map[string]ast.Node

// Visit implements ast.Visitor.
func (a anchorVisitor) Visit(n ast.Node) ast.Visitor {
	if anchor, ok := n.(*ast.AnchorNode); ok && anchor.Value != nil {
		a[anchor.Name.GetToken().Value] = anchor.Value
	}
	return a
}

// resolve follows anchors and aliases to the node that holds the value, or
// reports why it cannot and returns nil.
func (d *decoder) resolve(n ast.Node, at path) ast.Node {
	for range maxAliases {
		switch node := n.(type) {
		case nil:
			return nil
		case *ast.AnchorNode:
			n = node.Value
		case *ast.AliasNode:
			name := node.Value.GetToken().Value
			target, ok := d.anchors[name]
			if !ok {
				d.report(node, at, "there is no anchor &%s for the alias *%s", name, name)
				return nil
			}
			n = target
		case *ast.TagNode:
			d.report(node, at, "the tag %s is not supported; remove it", node.GetToken().Value)
			return nil
		default:
			return n
		}
	}
	d.report(n, at, "more than %d aliases in a row; do they lead to each other?", maxAliases)
	return nil
}

// entries returns the keys of a mapping, without duplicates. Keys that are merged into it
// (<<: *name) follow its own, which take precedence. An empty value is a mapping without
// keys.
func (d *decoder) entries(n ast.Node, at path) []entry {
	return d.merged(n, at, maxAliases)
}

func (d *decoder) merged(n ast.Node, at path, depth int) []entry {
	if n.Type() == ast.NullType {
		return nil
	}
	mapping, ok := n.(*ast.MappingNode)
	switch {
	case !ok:
		d.report(n, at, "%s is not a mapping; write its keys below it, each as \"key: value\"", describe(n))
		return nil
	case depth == 0:
		d.report(n, at, "more than %d merges in a row; do they merge each other?", maxAliases)
		return nil
	}
	if !d.spend(len(mapping.Values)) {
		return nil
	}
	var own []entry
	var base ast.Node
	seen := map[string]*token.Position{}
	for _, pair := range mapping.Values {
		key, pos := keyOf(pair)
		if first := seen[key]; first != nil {
			d.reportAt(pos, string(at.key(key)), "duplicate key; it is already on line %d", first.Line)
			continue
		}
		if len(key) > maxKey {
			d.reportAt(pos, string(at), "a key of %d bytes; at most %d", len(key), maxKey)
			continue
		}
		seen[key] = pos
		if pair.Key.IsMergeKey() {
			base = pair.Value
			continue
		}
		own = append(own, entry{key, pos, pair.Value})
	}
	if base = d.resolve(base, at); base == nil {
		return own
	}
	merged := d.merged(base, at, depth-1)
	d.spend(len(merged))
	for _, e := range merged {
		if seen[e.key] == nil {
			own = append(own, e)
		}
	}
	return own
}

// keyOf returns the text and the position of a mapping's key.
func keyOf(pair *ast.MappingValueNode) (string, *token.Position) {
	var n ast.Node = pair.Key
	if explicit, ok := n.(*ast.MappingKeyNode); ok && explicit.Value != nil {
		n = explicit.Value
	}
	return n.GetToken().Value, position(n)
}

// position returns where a node begins. For the YAML library, a block mapping begins at
// its first colon.
func position(n ast.Node) *token.Position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		_, pos := keyOf(m.Values[0])
		return pos
	}
	return n.GetToken().Position
}

// text returns a scalar with its variables expanded.
func (d *decoder) text(n ast.Node, at path) (text string, ok bool) {
	switch node := n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		text = node.GetToken().Value
	case *ast.LiteralNode:
		text = strings.TrimSuffix(node.Value.GetToken().Value, "\n")
	case *ast.NullNode:
		d.report(n, at, `has no value; remove the key to get its default, or write ""`)
		return "", false
	default:
		d.report(n, at, "%s is not a single value", describe(n))
		return "", false
	}
	text, err := d.hide(text, string(at))
	if err != nil {
		d.report(n, at, "%v", err)
		return "", false
	}
	return text, true
}

// describe names the kind of a node, or shows its value, for an error.
func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	default:
		return `"` + n.GetToken().Value + `"`
	}
}
