package cluster

import (
	"hash/fnv"
	"math"

	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
)

// A Placement says which member each stream belongs to. It is a rendezvous hash (Thaler
// and Ravishankar 1998): all members come to the same result independently, and when one
// joins or leaves, only the streams that it gains or had are moved. Weights follow the
// logarithmic method of Schindelhauer and Schomaker (2005): a member's share of the
// streams is its share of the total weight.
type Placement struct {
	members []lease.Member
	hashes  []uint64
}

// NewPlacement returns the placement for some members. Those without weight get nothing.
func NewPlacement(members []lease.Member) Placement {
	var p Placement
	for _, m := range members {
		if m.Weight > 0 {
			p.members = append(p.members, m)
			p.hashes = append(p.hashes, hash(m.Name))
		}
	}
	return p
}

// Owner returns the name of the member that the stream of a key belongs to, "" where no
// member has any weight.
func (p Placement) Owner(key string) string {
	best, least := "", math.Inf(1)
	of := hash(key)
	for i, m := range p.members {
		// In (0, 1), and the same for this pair on every member.
		u := (float64(mix(of^p.hashes[i])>>11) + 0.5) / (1 << 53)
		if d := -math.Log(u) / m.Weight; d < least {
			best, least = m.Name, d
		}
	}
	return best
}

// MaxMoves returns how many streams a member that runs so many gives away at a time.
func MaxMoves(running int) int { return min(max(running/20, 2), 50) }

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // it never fails
	return mix(h.Sum64())
}

// mix spreads the bits of x over all of the result (Steele, Lea and Flood 2014,
// SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
