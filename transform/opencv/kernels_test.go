package opencv

import "testing"

// TestKernels compares the vector code with the plain C.
func TestKernels(t *testing.T) {
	var names []string
	for _, k := range kernels() {
		names = append(names, kernelName(k))
	}
	t.Log(names)
	if names[len(names)-1] != "c" {
		t.Errorf("kernels %q: the plain C comes last", names)
	}
	rounds := uint64(60)
	if testing.Short() {
		rounds = 5
	}
	for seed := range rounds {
		if err := checkKernels(seed); err != nil {
			t.Error(err)
		}
	}
}
