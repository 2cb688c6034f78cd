package status

import "github.com/cvfeeder/cvfeeder/source"

// A bill is what images have cost, at most.
type bill struct {
	// Asked are the images that were asked for since the start, by cause, and Paid those of
	// them that came: at least these are paid. Causes without images are left out.
	Asked map[string]uint64 `json:"asked"`
	Paid  map[string]uint64 `json:"paid"`
	// Cost is what those that were asked for cost, and MonthCost those since the month began.
	Cost      float64 `json:"cost"`
	Month     int64   `json:"month"`
	MonthCost float64 `json:"month_cost"`
	Currency  string  `json:"currency"`
}

// bill returns that of a stream, or of all for ""; nil if it is not known.
func (h *handler) bill(stream string) *bill {
	if h.opts.Bill == nil {
		return nil
	}
	asked, came := h.opts.Bill(stream)
	b := &bill{
		Asked: byCause(asked), Paid: byCause(came), Cost: float64(asked.Sum()) * h.opts.Price,
		Month: int64(asked.Sum()), Currency: h.opts.FramePrice.Currency,
	}
	if h.opts.Month != nil {
		b.Month = h.opts.Month(stream)
	}
	b.MonthCost = float64(b.Month) * h.opts.Price
	return b
}

func byCause(b source.Bill) map[string]uint64 {
	all := map[string]uint64{}
	for _, c := range source.Causes() {
		if b[c] > 0 {
			all[c.String()] = b[c]
		}
	}
	return all
}
