// Command provenance writes what files of a release were made of, as an in-toto statement
// with the predicate SLSA provenance v1:
//
//	go run ./internal/provenance VERSION COMMIT BUILDER FILE...
//
// Run it at the top of the repository. COMMIT is the commit of the sources, and BUILDER is
// the URI of who ran the build and answers for it. The materials are that commit and the
// Go modules of go.sum; the Debian packages are in the bills of materials. The statement
// has no time, so that the same build always has the same one, and no signature, which
// SHA256SUMS has.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/package-url/packageurl-go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	repository = "https://github.com/cvfeeder/cvfeeder"
	// buildType is where the parameters are explained.
	buildType = repository + "/blob/main/docs/deployment.md#provenance"
	predicate = "https://slsa.dev/provenance/v1"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "provenance:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) < 4 {
		return errors.New("usage: provenance VERSION COMMIT BUILDER FILE")
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		return err
	}
	materials, err := modules(string(sums))
	if err != nil {
		return err
	}
	subjects, err := digests(args[3:])
	if err != nil {
		return err
	}
	p, err := describe(args[0], args[1], args[2], materials)
	if err != nil {
		return err
	}
	s := &intoto.Statement{Type: intoto.StatementTypeUri, Subject: subjects, PredicateType: predicate, Predicate: p}
	if err := s.Validate(); err != nil {
		return err
	}
	text, err := protojson.Marshal(s)
	if err != nil {
		return err
	}
	// protojson varies the white space on purpose.
	var same, indented bytes.Buffer
	if err := json.Compact(&same, text); err != nil {
		return err
	}
	if err := json.Indent(&indented, same.Bytes(), "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, indented.String())
	return err
}

// describe returns the predicate.
func describe(version, commit, builder string, materials []*intoto.ResourceDescriptor) (*structpb.Struct, error) {
	external, err := structpb.NewStruct(map[string]any{"source": "git+" + repository, "version": version})
	if err != nil {
		return nil, err
	}
	internal, err := structpb.NewStruct(map[string]any{"go": runtime.Version()})
	if err != nil {
		return nil, err
	}
	source := &intoto.ResourceDescriptor{Uri: "git+" + repository + "@" + commit, Digest: map[string]string{"gitCommit": commit}}
	p := &slsa.Provenance{
		BuildDefinition: &slsa.BuildDefinition{
			BuildType:            buildType,
			ExternalParameters:   external,
			InternalParameters:   internal,
			ResolvedDependencies: append([]*intoto.ResourceDescriptor{source}, materials...),
		},
		RunDetails: &slsa.RunDetails{Builder: &slsa.Builder{Id: builder}},
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	text, err := protojson.Marshal(p)
	if err != nil {
		return nil, err
	}
	s := &structpb.Struct{}
	return s, s.UnmarshalJSON(text)
}

// modules returns the modules of a go.sum. Their digests are those of go.sum in
// hexadecimal, as in-toto's dirHash is.
func modules(sums string) ([]*intoto.ResourceDescriptor, error) {
	var all []*intoto.ResourceDescriptor
	for line := range strings.Lines(sums) {
		fields := strings.Fields(line)
		if len(fields) != 3 || !strings.HasPrefix(fields[2], "h1:") {
			return nil, fmt.Errorf("go.sum: %q is no module with its hash", line)
		}
		path, version, hash := fields[0], fields[1], strings.TrimPrefix(fields[2], "h1:")
		if strings.HasSuffix(version, "/go.mod") {
			continue // it chose versions, but nothing was built of it
		}
		digest, err := base64.StdEncoding.DecodeString(hash)
		if err != nil {
			return nil, fmt.Errorf("go.sum: %s: %w", path, err)
		}
		namespace, name := filepath.Split(path)
		purl := packageurl.NewPackageURL(packageurl.TypeGolang, strings.TrimSuffix(namespace, "/"), name, version, nil, "").ToString()
		all = append(all, &intoto.ResourceDescriptor{Uri: purl, Digest: map[string]string{"dirHash": hex.EncodeToString(digest)}})
	}
	return all, nil
}

// digests returns the files by their names, without their directories.
func digests(paths []string) ([]*intoto.ResourceDescriptor, error) {
	var all []*intoto.ResourceDescriptor
	for _, path := range paths {
		file, err := os.Open(path) //nolint:gosec // the user names the file
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		_, err = io.Copy(h, file)
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
		all = append(all, &intoto.ResourceDescriptor{Name: filepath.Base(path), Digest: map[string]string{"sha256": hex.EncodeToString(h.Sum(nil))}})
	}
	return all, nil
}
