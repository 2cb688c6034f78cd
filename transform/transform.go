// Package transform describes the tensors that models take: what is done to a picture,
// and what comes out.
//
// A [Spec] is the preprocessing of one model: how a picture is fitted, resized,
// normalized and laid out. [Preset] returns the specs of well-known models.
// [Spec.Geometry] works out where the picture's pixels go, and the [Affine] that
// maps the model's boxes back to the picture. A [Tensor] is the result.
//
//	spec, err := transform.Preset("yolo")
//	geometry, err := spec.Geometry(image.Pt(1920, 1080))
//	x, y := geometry.Affine.Apply(320, 320) // of the tensor's centre, in the picture
//
// The package is arithmetic only, and imports nothing but the standard library and the
// time slots of package source. Package transform/opencv decodes and resizes pixels.
//
// The package is larger than most packages of this module because a spec's keys, what they
// mean for a picture's size, and what is wrong with them belong together.
//
// # Stability
//
// The config file and the headers of messages are made of this package's words, so they
// do not change: the values of [Fit], [Resize], [Color], [DType], [Layout], [DecodeMode]
// and [Reason], the names of the presets, and what each of them does to a pixel.
// Tensors with the same [Spec.Fingerprint] stay the same, bit for bit. New values and new
// fields may be added, whose zero values change nothing; name the fields in literals. [Buffers] and [Padding] serve
// transform/opencv and may change with it.
package transform
