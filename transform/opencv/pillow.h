#ifndef CVF_PILLOW_H
#define CVF_PILLOW_H

#include "sink.h"

// The sink that resizes as Pillow's Image.resize does, to the last bit. See sink.h for the two
// functions.
size_t cvf_pillow_scratch(const cvf_resize *r);
cvf_sink *cvf_pillow_start(const cvf_resize *r, void *scratch);

#endif
