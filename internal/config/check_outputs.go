package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/transform"
)

func (d checker) checkOutputs(c *Config) {
	if len(c.Outputs) == 0 && !d.Failed("outputs") {
		d.Report("outputs", `there are no outputs; define at least one, for example "detector: {preset: yolo}"`)
	}
	names := slices.Sorted(maps.Keys(c.Outputs))
	for _, name := range names {
		path := "outputs." + name
		if strings.TrimSpace(name) == "" {
			d.Report(path, "the output has no name")
		}
		spec := c.Outputs[name].Spec()
		for _, problem := range fieldErrors(spec.Validate()) {
			d.Report(path+"."+problem.Key, "%v", problem.Err)
		}
	}
	d.checkDistinct("output", names, func(i int) string { return "outputs." + names[i] })
}

// fieldErrors returns the errors that [transform.Spec.Validate] has joined.
func fieldErrors(err error) []*transform.FieldError {
	var fields []*transform.FieldError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			fields = append(fields, fieldErrors(e)...)
		}
		return fields
	}
	var field *transform.FieldError
	if errors.As(err, &field) {
		fields = append(fields, field)
	}
	return fields
}

// checkDistinct reports names that would share NATS subjects.
func (d checker) checkDistinct(kind string, names []string, path func(i int) string) {
	first := map[string]int{}
	for i, name := range names {
		if name == "" {
			continue // reported already
		}
		token := publish.SubjectToken(name)
		other, taken := first[token]
		switch {
		case !taken:
			first[token] = i
		case names[other] == name:
			d.Report(path(i), "the %s %q is already %s; remove one", kind, name, path(other))
		default:
			d.Report(path(i), "the %s %q would share its NATS subjects with %q, as both become %s in them; rename one", kind, name, names[other], token)
		}
	}
}
