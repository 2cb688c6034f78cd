package publish

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Quality is how good a camera's picture is: that of a message, or the last one before it that
// was looked at. A level is a step of brightness, 0 to 255; what counts are the means of blocks of
// 8x8 pixels. docs/camera-health.md explains each measure.
type Quality struct {
	// Mean is the mean brightness, and Contrast its standard deviation, in levels.
	Mean, Contrast float64
	// Sharpness is the variance of the Laplacian, in levels squared.
	Sharpness float64
	// Clipped is the share of blocks at either end of the brightness, 0 to 1.
	Clipped float64
	// Difference is by how much it differs from the picture that was looked at before it, in
	// levels; NaN if there is none.
	Difference float64
	// Similarity is how much it shows what the camera usually does, 0 to 1; NaN while that is
	// learned.
	Similarity float64
	// Age is how much earlier than the message's the picture is.
	Age time.Duration
	// Conditions are what is wrong, worst first, such as "blurred".
	Conditions []string
}

// String returns the quality as [HeaderQuality] has it: the numbers in the order of the fields,
// separated by commas, with "-" for NaN, and the age in seconds; then a semicolon and the conditions,
// if there are any.
func (q Quality) String() string {
	b := make([]byte, 0, 64)
	for i, v := range []struct {
		value    float64
		decimals int
	}{{q.Mean, 1}, {q.Contrast, 1}, {q.Sharpness, 1}, {q.Clipped, 3}, {q.Difference, 2}, {q.Similarity, 2}, {q.Age.Seconds(), 1}} {
		if i > 0 {
			b = append(b, ',')
		}
		if math.IsNaN(v.value) {
			b = append(b, '-')
			continue
		}
		b = strconv.AppendFloat(b, v.value, 'f', v.decimals, 64)
	}
	for i, c := range q.Conditions {
		b = append(append(b, ";,"[min(i, 1)]), c...)
	}
	return string(b)
}

// qualityText matches what String returns, and what a later version may: more numbers, and other
// conditions.
var qualityText = func() *regexp.Regexp { //nolint:gochecknoglobals // a constant
	const number, name = `\d{1,9}(?:\.\d{1,9})?`, `[a-z_]{1,30}`
	const maybe = `(?:-|` + number + `)`
	const numbers = `(?:` + number + `,){4}(?:` + maybe + `,){2}` + number + `(?:,` + maybe + `){0,30}`
	return regexp.MustCompile(`^` + numbers + `(?:;` + name + `(?:,` + name + `){0,30})?$`)
}()

// quality reads what [Quality.String] writes.
func (f *fields) quality() *Quality {
	s := f.text(HeaderQuality)
	if f.err != nil {
		return nil
	}
	if !qualityText.MatchString(s) {
		f.fail(HeaderQuality, "%.60q is not at least seven numbers, and conditions such as ;blurred", s)
		return nil
	}
	numbers, conditions, some := strings.Cut(s, ";")
	var values [7]float64
	for i, text := range slices.Collect(strings.SplitSeq(numbers, ","))[:len(values)] {
		if values[i] = math.NaN(); text != "-" {
			values[i], _ = strconv.ParseFloat(text, 64) // the text was matched
		}
	}
	q := &Quality{
		Mean: values[0], Contrast: values[1], Sharpness: values[2], Clipped: values[3], Difference: values[4], Similarity: values[5],
		Age: time.Duration(math.Round(values[6]*1000)) * time.Millisecond,
	}
	if some {
		q.Conditions = strings.Split(conditions, ",")
	}
	return q
}
