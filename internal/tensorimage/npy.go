package tensorimage

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/cvfeeder/cvfeeder/transform"
)

// EncodeNPY writes the tensor as a file that numpy.load reads: format 1.0 of
// NumPy's lib/format.py, with the payload's elements as they are.
func EncodeNPY(w io.Writer, t Tensor) error {
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
		descr(t.envelope.DType), t.dims(", "))

	// Magic, version, length and dict are padded to a multiple of 64 with spaces
	// before the newline that ends the dict.
	const fixed = len("\x93NUMPY") + 2 + 2
	padding := 63 - (fixed+len(dict))%64
	dict += strings.Repeat(" ", padding) + "\n"

	header := append([]byte("\x93NUMPY"), 1, 0)
	header = binary.LittleEndian.AppendUint16(header, uint16(len(dict)))
	header = append(header, dict...)
	for _, part := range [][]byte{header, t.data} {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("npy: %w", err)
		}
	}
	return nil
}

// descr returns NumPy's name of the little-endian type.
func descr(d transform.DType) string {
	switch d {
	case transform.Float32:
		return "<f4"
	case transform.Float16:
		return "<f2"
	default:
		return "|u1"
	}
}
