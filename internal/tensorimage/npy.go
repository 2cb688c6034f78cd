package tensorimage

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// EncodeNPY writes the tensor as a file for numpy.load: format 1.0 of NumPy's
// lib/format.py, with the elements as they are in the payload.
func EncodeNPY(w io.Writer, t Tensor) error {
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
		t.envelope.DType.NumPy(), t.dims(", "))

	// Magic, version, length and dict together are a multiple of 64 bytes long. Spaces
	// before the dict's final newline fill them up.
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
