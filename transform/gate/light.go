package gate

import "math"

// A light is what has changed in the whole picture: brightness v became gain*v + offset.
type light struct{ gain, offset float64 }

// at returns what a brightness became.
func (l light) at(v int) float64 { return float64(l.gain*float64(v)) + l.offset }

// table returns what each brightness became, rounded.
func (l light) table() (t [256]uint8) {
	for v := range t {
		t[v] = uint8(max(0, min(255, math.Round(l.at(v)))))
	}
	return t
}

// shift returns by how much the mean brightness of the cells changed.
func (l light) shift(cells []uint8) float64 {
	sum := 0
	for _, v := range cells {
		sum += int(v)
	}
	mean := float64(sum) / float64(len(cells))
	return float64(l.gain*mean) + l.offset - mean
}

// fits are how often the light is fitted again to the cells that agree with it, and
// agrees is how far off these may be, in levels.
const (
	fits   = 2
	agrees = 8
)

// fit returns the light by which most cells of a became those of b. It begins with the
// quartiles, which hold for whatever covers less than a quarter of the picture, and goes on
// with least squares over the cells that agree.
func fit(a, b []uint8) light {
	qa, qb := quartiles(a), quartiles(b)
	l := light{gain: 1}
	if spread := qa[2] - qa[0]; spread >= 16 { // otherwise they do not tell a gain
		l.gain = bounded(float64(qb[2]-qb[0]) / float64(spread))
	}
	l.offset = float64(qb[1]) - float64(l.gain*float64(qa[1]))
	for range fits {
		l = l.refit(a, b)
	}
	return l
}

// refit returns the light that fits best to the cells that l fits. Brightness at the ends of
// the range is left out, because it is cut off there.
func (l light) refit(a, b []uint8) light {
	table := l.table()
	var n, sa, sb, saa, sab int
	for i, v := range a {
		x, y := int(v), int(b[i])
		if d := y - int(table[v]); d < -agrees || d > agrees || x < 4 || x > 250 || y < 4 || y > 250 {
			continue
		}
		n++
		sa += x
		sb += y
		saa += x * x
		sab += x * y
	}
	if n < len(a)/8 || n == 0 {
		return l
	}
	gain := l.gain
	if variance := n*saa - sa*sa; float64(variance) >= 64*float64(n)*float64(n) { // a deviation of 8 levels
		gain = bounded(float64(n*sab-sa*sb) / float64(variance))
	}
	return light{gain, (float64(sb) - float64(gain*float64(sa))) / float64(n)}
}

func bounded(gain float64) float64 { return max(leastGain, min(mostGain, gain)) }

// quartiles returns the brightness that a quarter, half and three quarters of the cells
// do not exceed.
func quartiles(cells []uint8) (q [3]int) {
	var counts [256]int
	for _, v := range cells {
		counts[v]++
	}
	sum, next := 0, 0
	for v, n := range counts {
		sum += n
		for next < 3 && sum*4 >= (next+1)*len(cells) {
			q[next] = v
			next++
		}
	}
	return q
}
