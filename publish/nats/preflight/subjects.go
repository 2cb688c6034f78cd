package preflight

import "strings"

// isWithin tells whether another pattern matches every subject that a pattern matches, as
// SubjectMatchesFilter of nats-server does.
func isWithin(pattern, other string) bool {
	tokens, others := strings.Split(pattern, "."), strings.Split(other, ".")
	return areWithin(tokens, others)
}

func areWithin(tokens, others []string) bool {
	for i, other := range others {
		switch {
		case i >= len(tokens) || other == "":
			return false
		case other == ">":
			return true
		case tokens[i] == "" || tokens[i] == ">":
			return false
		case tokens[i] == "*":
			if other != "*" {
				return false
			}
		case other[0] != '*' && tokens[i] != other:
			return false
		}
	}
	return len(tokens) == len(others)
}

// mayCollide tells whether two patterns could match the same subject, as SubjectsCollide
// of nats-server does.
func mayCollide(a, b string) bool {
	if a == b {
		return true
	}
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	aStar, aTail := wildcards(as)
	bStar, bTail := wildcards(bs)
	aPlain, bPlain := !aStar && !aTail, !bStar && !bTail
	switch {
	case aPlain && bPlain:
		return false
	case aPlain:
		return areWithin(as, bs)
	case bPlain:
		return areWithin(bs, as)
	case len(as) < len(bs) && !aTail, len(bs) < len(as) && !bTail:
		return false // the shorter one has no ">" to match the rest
	}
	for i := range min(len(as), len(bs)) {
		if !canMatch(as[i], bs[i]) {
			return false
		}
	}
	return true
}

// wildcards tells whether there is a "*" among the tokens, and a ">".
func wildcards(tokens []string) (star, tail bool) {
	for _, t := range tokens {
		star = star || t == "*"
		tail = tail || t == ">"
	}
	return star, tail
}

func canMatch(a, b string) bool {
	switch {
	case a == "" || b == "":
		return false
	case a[0] == '*' || b[0] == '*' || a[0] == '>' || b[0] == '>':
		return true
	}
	return a == b
}
