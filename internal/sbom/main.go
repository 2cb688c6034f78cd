// Command sbom writes the software bill of materials of a Go program in CycloneDX's JSON
// format:
//
//	go run ./internal/sbom PROGRAM VERSION DISTRIBUTION <PACKAGES
//
// The bill lists the Go modules that are recorded in the program, and the Debian packages
// that are linked into it, which standard input names, one a line: the package, its
// version and its architecture, which is "source" for a source package. DISTRIBUTION is
// where they are from, such as debian-12. The bill's time is $SOURCE_DATE_EPOCH, if that is set, so that the
// same program always has the same bill.
package main

import (
	"bufio"
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

	"github.com/package-url/packageurl-go"
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
	if err := run(os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string, epoch string, packages io.Reader, out io.Writer) error {
	if len(args) != 3 {
		return errors.New("usage: sbom PROGRAM VERSION DISTRIBUTION <PACKAGES")
	}
	program, err := os.ReadFile(args[0]) //nolint:gosec // the user names the file
	if err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(args[0])
	if err != nil {
		return err
	}
	b := describe(info, args[1])
	linked, err := debian(packages, args[2])
	if err != nil {
		return err
	}
	b.Components = append(b.Components, linked...)
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
	encoder.SetEscapeHTML(false) // a purl may have a &
	return encoder.Encode(b)
}

// describe returns a bill of the program's modules and Go's standard library.
func describe(info *debug.BuildInfo, version string) bill {
	b := bill{Format: "CycloneDX", SpecVersion: "1.5", Version: 1}
	b.Metadata.Component = module("application", info.Main.Path, version)
	b.Components = append(b.Components, module("library", "stdlib", strings.TrimPrefix(info.GoVersion, "go")))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.Components = append(b.Components, module("library", m.Path, m.Version))
	}
	return b
}

func module(kind, path, version string) component {
	namespace, name := "", path
	if i := strings.LastIndex(path, "/"); i >= 0 {
		namespace, name = path[:i], path[i+1:]
	}
	purl := packageurl.NewPackageURL(packageurl.TypeGolang, namespace, name, version, nil, "").ToString()
	return component{Type: kind, Ref: purl, Name: path, Version: version, PURL: purl}
}

// debian returns the packages that the lines name, each of them once.
func debian(lines io.Reader, distribution string) ([]component, error) {
	var all []component
	seen := map[string]bool{}
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) != 3 {
			return nil, fmt.Errorf("%q: name a package, its version and its architecture", scanner.Text())
		}
		qualifiers := packageurl.QualifiersFromMap(map[string]string{"arch": fields[2], "distro": distribution})
		vendor, _, _ := strings.Cut(distribution, "-")
		purl := packageurl.NewPackageURL(packageurl.TypeDebian, vendor, fields[0], fields[1], qualifiers, "").ToString()
		if !seen[purl] {
			seen[purl] = true
			all = append(all, component{Type: "library", Ref: purl, Name: fields[0], Version: fields[1], PURL: purl})
		}
	}
	if len(all) == 0 && scanner.Err() == nil {
		return nil, errors.New("standard input names no package")
	}
	return all, scanner.Err()
}
