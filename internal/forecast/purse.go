package forecast

import (
	"errors"
	"sync"
)

// ErrSpent says that all images that might be asked for were.
var ErrSpent = errors.New("the images that may be spent are used up")

// A Purse holds the images that may be asked for. It is safe for concurrent use.
type Purse struct {
	mu          sync.Mutex
	left, spent int
}

// NewPurse returns a purse with a number of images.
func NewPurse(images int) *Purse { return &Purse{left: images} }

// Spend takes images out, or none of them and returns [ErrSpent] if there are not as many.
func (p *Purse) Spend(images int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if images > p.left {
		return ErrSpent
	}
	p.left -= images
	p.spent += images
	return nil
}

// Spent returns how many images were taken out.
func (p *Purse) Spent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spent
}
