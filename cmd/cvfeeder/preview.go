package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/tensorimage"
	"github.com/cvfeeder/cvfeeder/internal/usage"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// A preview shows one picture as the model gets it from one output of a config.
type preview struct {
	config, output, image, stream string
	// file is the PNG or picture to write, "" for one named after the output.
	file string
}

func newPreviewCommand() *cobra.Command {
	var p preview
	cmd := &cobra.Command{
		Use:   "preview [-c] FILE --output NAME --image FILE",
		Short: "Show what a model will see of a picture",
		Long: `Preview makes an output's tensor from a JPEG or PNG, as run does, and writes it as a
PNG: denormalized, and with the bars of the letterbox; of tiles, all of them. What an
output with encode makes is written as it is. It prints the shape, the
type, the range, the mean of each channel, and the affine transform back to the
picture's pixels.`,
		Example: "  cvfeeder preview -c cvfeeder.yaml --output detector --image frame.jpg -o seen.png",
		Args:    usage.File("config", &p.config),
		RunE: func(cmd *cobra.Command, _ []string) error {
			output, camera, decoder, err := p.find()
			if err != nil {
				return feeder.Usage(err)
			}
			data, err := p.read(output)
			if err != nil {
				return feeder.Usage(err)
			}
			return p.show(cmd.OutOrStdout(), output, camera, decoder, data)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&p.config, "config", "c", "", "config `FILE`")
	flags.StringVar(&p.output, "output", "", "`NAME` of the output in the config")
	flags.StringVar(&p.stream, "stream", "", "`NAME` of the stream in the config whose masks cover the picture (default: the only one with the output)")
	flags.StringVar(&p.image, "image", "", "JPEG or PNG `FILE` to show")
	completeConfig(cmd)
	usage.CompleteFiles(cmd, "image", "jpg", "jpeg", "png")
	usage.Complete(cmd, "output", func(_ context.Context, args []string) []string {
		cfg, err := loadConfig(cmp.Or(p.config, strings.Join(args, "")))
		if err != nil {
			return nil
		}
		return slices.Sorted(maps.Keys(cfg.Outputs))
	})
	flags.StringVarP(&p.file, "out", "o", "", "`FILE` to write: a PNG, or the picture of an output that makes pictures (default: the output's name with .png or as it is encoded)")
	return cmd
}

// find returns the output of the config file, and how pictures are decoded.
func (p *preview) find() (o *transform.Output, camera *transform.Camera, decoder opencv.Options, err error) {
	cfg, err := loadConfig(p.config)
	if err != nil {
		return nil, nil, decoder, err
	}
	plan, err := feeder.NewPlan(cfg)
	if err != nil {
		return nil, nil, decoder, err
	}
	switches, err := feeder.ReadSwitches(os.Getenv)
	if err != nil {
		return nil, nil, decoder, err
	}
	outputs := plan.Outputs
	o = outputs[p.output]
	if o == nil {
		why := fmt.Sprintf("%s has no output %q", p.config, p.output)
		if p.output == "" {
			why = "no output: name it with --output NAME"
		}
		return nil, nil, decoder, fmt.Errorf("%s; there are: %s", why, strings.Join(slices.Sorted(maps.Keys(outputs)), ", "))
	}
	camera, err = cfg.CameraOf(p.stream, p.output)
	return o, camera, feeder.Decoder(switches, cfg), err
}

// extension returns that of the file to write: a PNG of a tensor, or the picture that it is.
func (p *preview) extension(o *transform.Output) string {
	switch {
	case !o.Spec.Pictures():
		return ".png"
	case !o.Spec.Decodes():
		return filepath.Ext(p.image)
	}
	return tensorimage.Extension(o.Spec.Encode.Type())
}

// read returns the bytes of the picture. It fails if writing the file would overwrite
// the picture.
func (p *preview) read(o *transform.Output) ([]byte, error) {
	if p.image == "" {
		return nil, errors.New("no picture: name a JPEG or PNG with --image FILE")
	}
	p.file = cmp.Or(p.file, strings.ReplaceAll(p.output, "/", "_")+p.extension(o))
	in, err := os.Stat(p.image)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no such file", p.image)
	case err != nil:
		return nil, err
	case in.IsDir():
		return nil, fmt.Errorf("%s is a directory: name a JPEG or PNG", p.image)
	}
	if out, err := os.Stat(p.file); err == nil && os.SameFile(in, out) {
		return nil, fmt.Errorf("%s is the picture itself: name another file with -o", p.file)
	}
	return os.ReadFile(p.image)
}

// show makes the tensor, writes the PNG, and prints the rest.
func (p *preview) show(w io.Writer, o *transform.Output, camera *transform.Camera, decoder opencv.Options, data []byte) error {
	worker := opencv.NewWorker(decoder)
	defer worker.Close()
	now := time.Now()
	frame := source.Frame{Stream: "preview", Slot: source.SlotAt(now), Capture: now, Data: data}
	if err := worker.Decode(frame, camera, []*transform.Output{o}); err != nil {
		return fmt.Errorf("%s: %w", p.image, err)
	}
	t, err := worker.Tensor(o)
	if err != nil {
		return fmt.Errorf("%s: %w", p.image, err)
	}
	// Through a message, so that the PNG shows what a consumer gets.
	message := publish.NewMessage("preview", t)
	envelope, err := publish.ParseEnvelope(message.Header)
	if err != nil {
		return err
	}
	if envelope.ContentType != "" {
		return p.showPicture(w, envelope, message.Data)
	}
	tensor, err := tensorimage.New(envelope, message.Data)
	if err != nil {
		return err
	}
	if err := p.write(tensor); err != nil {
		return err
	}
	return p.describe(w, envelope, tensor)
}

// showPicture writes the bytes of an output that makes pictures, and prints what they are.
func (p *preview) showPicture(out io.Writer, e publish.Envelope, data []byte) error {
	if err := os.WriteFile(filepath.Clean(p.file), data, 0o644); err != nil { //nolint:gosec // as of any file that a user asks for
		return fmt.Errorf("the picture cannot be written: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) { _, _ = fmt.Fprintf(w, key+"\t"+format+"\n", args...) }
	line("picture", "%s, %dx%d", p.image, e.Source.X, e.Source.Y)
	line("output", "%s", e.Output)
	line("encoded", "%s %dx%d %s, %d bytes", e.ContentType, e.Width(), e.Height(), e.Color, len(data))
	line("affine", "%s", affineText(e.Affine))
	line("written", "%s", p.file)
	return w.Flush()
}

// write writes the PNG.
func (p *preview) write(tensor tensorimage.Tensor) error {
	file, err := os.Create(filepath.Clean(p.file))
	if err != nil {
		return fmt.Errorf("the PNG cannot be written: %w", err)
	}
	if err := errors.Join(tensorimage.EncodePNG(file, tensor), file.Close()); err != nil {
		return fmt.Errorf("%s: %w", p.file, err)
	}
	return nil
}

// describe prints what the PNG does not show.
func (p *preview) describe(out io.Writer, e publish.Envelope, tensor tensorimage.Tensor) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) { _, _ = fmt.Fprintf(w, key+"\t"+format+"\n", args...) }
	names := map[transform.Color][]string{
		transform.RGB: {"r", "g", "b"}, transform.BGR: {"b", "g", "r"}, transform.Gray: {"gray"},
	}[e.Color]
	low, high, _ := tensor.Range()
	var means []string
	for c, mean := range tensor.ChannelMeans() {
		means = append(means, fmt.Sprintf("%s %.4g", names[c], mean))
	}
	line("picture", "%s, %dx%d", p.image, e.Source.X, e.Source.Y)
	line("output", "%s", e.Output)
	line("shape", "%s %s %s, %d bytes", tensor.Dims(), e.Layout, e.Color, e.Bytes())
	line("dtype", "%s", e.DType)
	line("range", "%.4g to %.4g", low, high)
	line("mean", "%s", strings.Join(means, ", "))
	if !e.Normalized {
		line("normalize", "left to the consumer: scale %.6g, mean %.6g, std %.6g", e.Scale, e.Mean, e.Std)
	}
	if e.QuantScale != 0 {
		line("quantized", "value = (element - %d) * %.6g", e.QuantZeroPoint, e.QuantScale)
	}
	for i, a := range e.Affines {
		key := "affine"
		if len(e.Affines) > 1 {
			key = fmt.Sprintf("affine of tile %d", i)
		}
		line(key, "%s", affineText(a))
	}
	line("written", "%s", p.file)
	return w.Flush()
}

// affineText returns a map with what its numbers mean.
func affineText(a transform.Affine) string {
	return fmt.Sprintf("%g,%g,%g,%g,%g,%g: x_src = a*x + b*y + c, y_src = d*x + e*y + f", a[0], a[1], a[2], a[3], a[4], a[5])
}
