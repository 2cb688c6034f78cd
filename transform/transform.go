// Package transform says what a model wants to see, and what it is given.
//
// A [Spec] is the preprocessing of one model: how a picture is fitted, resized,
// normalized and laid out. [Preset] returns those of well-known models.
// [Spec.Geometry] works out where the picture's pixels go, and the [Affine] that
// maps the model's boxes back. A [Tensor] is the result.
//
// The package is arithmetic only and imports the standard library; the pixels
// are worked on in transform/opencv.
package transform
