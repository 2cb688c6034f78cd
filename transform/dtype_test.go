package transform

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the files that are made of this package's tables")

// dtypesFile is the table for the clients in other languages, whose tests read it.
const dtypesFile = "../clients/conformance/dtypes.json"

// TestDTypesAreThoseOfTheClients: the file that the clients' tests compare their tables with
// is this one.
func TestDTypesAreThoseOfTheClients(t *testing.T) {
	type row struct {
		DType    string `json:"dtype"`
		Datatype string `json:"datatype"`
		NumPy    string `json:"numpy"`
		Size     int    `json:"size"`
	}
	var rows []row
	for _, d := range DTypes() {
		rows = append(rows, row{string(d), d.Wire(), d.NumPy(), d.Size()})
	}
	want, err := json.MarshalIndent(rows, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(dtypesFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(dtypesFile); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not the table of this package: go test ./transform -run %s -update (%v)", dtypesFile, t.Name(), err)
	}
}

func TestDTypes(t *testing.T) {
	for _, d := range DTypes() {
		if got, ok := DTypeOfWire(d.Wire()); !ok || got != d {
			t.Errorf("%s is %s, which is %q, %v", d, d.Wire(), got, ok)
		}
		if r := d.row(); r.size < 1 || r.least >= r.most {
			t.Errorf("%s: %+v", d, r)
		}
	}
	if d, ok := DTypeOfWire("FP64"); ok || DType("float64").Size() != 0 {
		t.Errorf("FP64 is %q", d)
	}
}
