package kinesis

import (
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A bill says for what the images of one page of a window are asked, and which of them came.
type bill struct {
	window poll.Window
	first  int  // which slot of the window the page begins with
	again  bool // the page was asked for before
	came   source.Bill
}

func (b *bill) cause(slot int) source.Cause {
	if b.again {
		return source.ForRetry
	}
	return b.window.CauseOf(slot)
}

// got takes note of an image of the answer, which may have no picture.
func (b *bill) got(img page.Image) {
	if len(img.Data) == 0 {
		return
	}
	step := max(b.window.Interval, 1)
	slot := int((img.Time.Sub(b.window.Start.Time()) + step/2) / step)
	b.came[b.cause(slot)]++
}

// asked returns for what so many images were asked, and which came since the last call. What is
// asked after that is asked for again.
func (b *bill) asked(images int) (asked, came source.Bill) {
	for i := range images {
		asked[b.cause(b.first+i)]++
	}
	came, b.came, b.again = b.came, source.Bill{}, true
	return asked, came
}
