#ifndef CVF_TORCH_H
#define CVF_TORCH_H

#include "sink.h"

// The weights of torch.nn.functional.interpolate, on the CPU and with align_corners=False, of
// one side of a picture that is resized from in pixels to out.
typedef struct {
	int in, out;
	int cubic; // or linear
	int plain; // antialias=False
} cvf_torch_side;

// cvf_torch_most returns the most pixels that one is made of.
int cvf_torch_most(const cvf_torch_side *s);

// cvf_torch_weights writes the weights of pixel i of the result, in the precision that torch
// has for bytes, and sets the first pixel that it is made of. It returns how many they are.
int cvf_torch_weights(const cvf_torch_side *s, int i, double *weights, int *first);

// cvf_torch_bits returns how many bits behind the point the weights have with which torch
// resizes bytes. The weights need room for cvf_torch_most.
int cvf_torch_bits(const cvf_torch_side *s, double *weights);

// The functions of a sink that resizes as torch does tensors of float32: nothing is rounded to
// a byte, and the result has four floats a pixel.
size_t cvf_torch_scratch(const cvf_resize *r);
cvf_sink *cvf_torch_start(const cvf_resize *r, void *scratch);

#endif
