package preflight

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/preflight/assumptions"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
)

// AskOptions say how to ask the service what the source assumes of it.
type AskOptions struct {
	// File is the name of the config file, for the output.
	File string
	// Images is how many images may be asked for.
	Images int
	// JSON prints the findings as JSON, with nothing of the account in them. Everything
	// else is then written to Log.
	JSON bool
	Log  io.Writer
	// Agree is told what is about to be done, and returns an error if it is not to be.
	Agree func(what string) error
}

// Ask connects to AWS and asks the streams of cfg what the source assumes of the service:
// see package assumptions. A difference is a finding, no error: the error says that the
// questions could not be asked. [feeder.ExitCode] returns its exit code.
func Ask(ctx context.Context, cfg *config.Config, o AskOptions, out io.Writer) error {
	plan, err := feeder.NewPlan(cfg)
	if err != nil {
		return feeder.Usage(err)
	}
	told := out
	if o.JSON {
		told = o.Log
	}
	c := &checker{opts: Options{File: o.File, Connect: true}, cfg: cfg, plan: plan, out: tabwriter.NewWriter(told, 0, 0, 2, ' ', 0)}
	var streams []kinesis.StreamOptions
	if c.connect(ctx) {
		c.findStreams(ctx)
		streams = c.readable(ctx)
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(streams) == 0 && len(c.failed) > 0:
		return c.verdict()
	case len(streams) == 0:
		return fmt.Errorf("no stream of %s can be asked: it matches none", o.File)
	}
	err = o.Agree(fmt.Sprintf("This asks %s for at most %s images, which costs %s, and takes a minute or two.\n"+
		"At the end, up to 120 requests in 3 seconds find out what throttles: other readers of that stream may be throttled then, too.\n",
		count(len(streams), "stream"), grouped(float64(o.Images)), Price(cfg, o.Images)))
	if err != nil {
		return err
	}
	report, err := assumptions.Ask(ctx, assumptions.Options{
		Client: c.client, Streams: streams, Images: o.Images,
	})
	if o.JSON {
		return cmp.Or(err, writeJSON(out, report))
	}
	return cmp.Or(err, writeReport(out, report, Price(cfg, report.Images)))
}

// Price says what a number of images costs at the config's price.
func Price(cfg *config.Config, images int) string {
	p := cfg.Price
	return fmt.Sprintf("%s at %s per million (price.per_million_images)",
		money(float64(images)/1e6*p.PerMillionImages, p), money(p.PerMillionImages, p))
}

// readable returns how to read the first streams that can be asked.
func (c *checker) readable(ctx context.Context) []kinesis.StreamOptions {
	var all []kinesis.StreamOptions
	for _, s := range c.streams {
		if len(all) == assumptions.MaxStreams || ctx.Err() != nil {
			break
		}
		opts := feeder.ClientOptions(s.Stream, nil)
		if err := c.client.Stream(opts).Check(ctx); err != nil {
			c.fail("stream "+s.Name, err)
			continue
		}
		all = append(all, opts)
	}
	return all
}

// writeJSON prints the findings for a bug report.
func writeJSON(out io.Writer, r assumptions.Report) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Version string `json:"version"`
		assumptions.Report
	}{feeder.Version(), r})
}

// writeReport prints the findings as a table.
func writeReport(out io.Writer, r assumptions.Report, price string) error {
	rows := [][]string{{"ASSUMPTION", "THE FAKE", "SEEN", "VERDICT"}}
	for _, f := range r.Findings {
		seen := f.Seen
		if f.Why != "" {
			seen = strings.TrimPrefix(seen+"; "+f.Why, "; ")
		}
		rows = append(rows, []string{f.Question, f.Fake, seen, string(f.Verdict)})
	}
	writeTable(out, rows, []int{34, 30, 38, 17})
	different := r.Count(assumptions.Different)
	_, err := fmt.Fprintf(out, "%d same, %d different, %d could not be told; %s images were asked for: %s\n",
		r.Count(assumptions.Same), different, r.Count(assumptions.Unknown), grouped(float64(r.Images)), price)
	if err == nil && different > 0 {
		_, err = fmt.Fprintln(out, "What is different is no failure, but cvfeeder was not tried with it: please report it with the output of --json, which has nothing of your account in it.")
	}
	return err
}

// writeTable prints rows whose cells are wrapped to the given widths.
func writeTable(out io.Writer, rows [][]string, widths []int) {
	for _, row := range rows {
		cells := make([][]string, len(row))
		height := 0
		for i, text := range row {
			cells[i] = wrap(text, widths[i])
			height = max(height, len(cells[i]))
		}
		for n := range height {
			var line strings.Builder
			for i, cell := range cells {
				text := ""
				if n < len(cell) {
					text = cell[n]
				}
				fmt.Fprintf(&line, "%-*s  ", widths[i], text)
			}
			_, _ = fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
		}
		_, _ = fmt.Fprintln(out)
	}
}

// wrap breaks a text into lines of at most the given width, between words.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
