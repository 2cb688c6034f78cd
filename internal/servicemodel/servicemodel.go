// Package servicemodel reads the model from which the AWS SDKs of a service are generated
// (service-2.json), and holds values against it. It is for tests.
//
// The model is not part of this module: it comes with botocore, which is among the
// packages of clients/python/requirements-test.txt.
package servicemodel

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// A Service is the model of one service.
type Service struct {
	Operations map[string]Operation
	Shapes     map[string]*Shape
}

// An Operation is one of the service's operations.
type Operation struct {
	HTTP          struct{ Method, RequestURI string }
	Input, Output Ref
	Errors        []Ref
}

// A Ref names a shape.
type Ref struct{ Shape string }

// A Shape is a type, with the constraints on its values.
type Shape struct {
	// Type is "structure", "list", "map", "string", "integer", "long" or "timestamp".
	Type string
	// Required and Members are those of a structure.
	Required []string
	Members  map[string]Ref
	// Member is that of a list, Key and Value are those of a map.
	Member, Key, Value Ref
	// Min and Max bound a number, the characters of a string, or the size of a list or a
	// map.
	Min, Max *float64
	// Pattern is matched by a string as a whole.
	Pattern string
	Enum    []string
	// Error is set for the errors of operations.
	Error *struct{ HTTPStatusCode int }
}

const dump = `import json, sys
from botocore.loaders import Loader
json.dump(Loader().load_service_model(sys.argv[1], "service-2"), sys.stdout)`

// Load returns the model of the service that botocore has by that name. It skips the test
// where CVFEEDER_PYTHON does not name a Python with botocore.
func Load(t testing.TB, service string) *Service {
	t.Helper()
	python := os.Getenv("CVFEEDER_PYTHON")
	if python == "" {
		t.Skip("CVFEEDER_PYTHON does not name a Python with botocore: `make test` makes one")
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", dump, service) //nolint:gosec // it is the interpreter of the tests
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{}
	if err := json.Unmarshal(out, s); err != nil {
		t.Fatal(err)
	}
	return s
}
