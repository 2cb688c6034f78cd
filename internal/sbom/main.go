// Command sbom writes the software bill of materials of a Go program in CycloneDX's JSON
// format:
//
//	go run ./internal/sbom PROGRAM VERSION NAME=VERSION...
//
// The bill lists the Go modules that are recorded in the program, and the C libraries
// that the arguments name. Its time is $SOURCE_DATE_EPOCH, if that is set, so that the
// same program always has the same bill.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// A bill is a CycloneDX document, with only the fields that are needed here.
// See https://cyclonedx.org/docs/1.5/json/.
type bill struct {
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Metadata    metadata    `json:"metadata"`
	Components  []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp,omitempty"`
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

func main() {
	if err := run(os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string, epoch string, out io.Writer) error {
	if len(args) < 2 {
		return errors.New("usage: sbom PROGRAM VERSION [NAME=VERSION...]")
	}
	program, err := os.ReadFile(args[0]) //nolint:gosec // the user names the file
	if err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(args[0])
	if err != nil {
		return err
	}
	b, err := describe(info, args[1], args[2:])
	if err != nil {
		return err
	}
	sum := sha256.Sum256(program)
	b.Metadata.Component.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum[:])}}
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		b.Metadata.Timestamp = time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(b)
}

// describe returns a bill of the program's modules, Go's standard library and the C
// libraries.
func describe(info *debug.BuildInfo, version string, libraries []string) (bill, error) {
	b := bill{Format: "CycloneDX", SpecVersion: "1.5", Version: 1}
	b.Metadata.Component = module("application", info.Main.Path, version)
	b.Components = append(b.Components, module("library", "stdlib", strings.TrimPrefix(info.GoVersion, "go")))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.Components = append(b.Components, module("library", m.Path, m.Version))
	}
	for _, l := range libraries {
		name, version, ok := strings.Cut(l, "=")
		if !ok || name == "" || version == "" {
			return bill{}, fmt.Errorf("%q: name a library as NAME=VERSION", l)
		}
		purl := "pkg:generic/" + name + "@" + version
		b.Components = append(b.Components, component{Type: "library", Ref: purl, Name: name, Version: version, PURL: purl})
	}
	return b, nil
}

func module(kind, path, version string) component {
	purl := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
	return component{Type: kind, Ref: purl, Name: path, Version: version, PURL: purl}
}
