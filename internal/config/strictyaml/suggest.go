package strictyaml

import (
	"fmt"
	"strings"
)

// suggest says which words are allowed instead of an unknown one, the most similar first.
func suggest(word string, allowed []string) string {
	list := strings.Join(allowed, ", ")
	if best := Closest(word, allowed); best != "" {
		return fmt.Sprintf("did you mean %s? allowed: %s", best, list)
	}
	return "allowed: " + list
}

// Closest returns which of the allowed words is most similar to an unknown one, or "" if
// none is similar.
func Closest(word string, allowed []string) string {
	best, distance := "", 1+len(word)/3
	for _, a := range allowed {
		if len(word) > 2*len(a)+1 {
			continue // which is not similar, however long it is
		}
		if n := editDistance(word, a); n <= distance {
			best, distance = a, n-1
		}
	}
	return best
}

// editDistance is the Levenshtein distance of two texts, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
