package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// TestStatement reads a statement of this repository as others would, and compares it with
// the files.
func TestStatement(t *testing.T) {
	t.Chdir("../..")
	archive := filepath.Join(t.TempDir(), "cvfeeder-v1.tar.gz")
	if err := os.WriteFile(archive, []byte("an archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"v1", commit, "https://example.com/builder", archive}
	var out, again bytes.Buffer
	if err := run(args, &out); err != nil {
		t.Fatal(err)
	}
	if err := run(args, &again); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Errorf("the same build has another statement (%v)", err)
	}

	var s intoto.Statement
	var p slsa.Provenance
	if err := protojson.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s.GetPredicate())
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(text, &p); err != nil { // unknown fields are errors
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	sum := sha256.Sum256([]byte("an archive"))
	if got := s.GetSubject(); len(got) != 1 || got[0].GetName() != "cvfeeder-v1.tar.gz" || got[0].GetDigest()["sha256"] != hex.EncodeToString(sum[:]) {
		t.Errorf("the subjects are %v", got)
	}
	if s.GetPredicateType() != "https://slsa.dev/provenance/v1" || p.GetRunDetails().GetBuilder().GetId() != args[2] {
		t.Errorf("got %s by %v", s.GetPredicateType(), p.GetRunDetails())
	}
	checkMaterials(t, p.GetBuildDefinition().GetResolvedDependencies())
}

// checkMaterials compares the materials with go.sum.
func checkMaterials(t *testing.T, materials []*intoto.ResourceDescriptor) {
	t.Helper()
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	if len(materials) == 0 || materials[0].GetDigest()["gitCommit"] != commit {
		t.Fatalf("the first material is not the commit: %v", materials)
	}
	for _, m := range materials[1:] {
		module, version, _ := strings.Cut(strings.TrimPrefix(m.GetUri(), "pkg:golang/"), "@")
		hash, err := hex.DecodeString(m.GetDigest()["dirHash"])
		if err != nil {
			t.Error(err)
		}
		line := module + " " + strings.ReplaceAll(version, "%2B", "+") + " h1:" + base64.StdEncoding.EncodeToString(hash) + "\n"
		if !strings.Contains(string(sums), line) {
			t.Errorf("go.sum has no %s", line)
		}
	}
	if got, want := len(materials)-1, strings.Count(string(sums), "\n")-strings.Count(string(sums), "/go.mod h1:"); got != want || want == 0 {
		t.Errorf("%d modules, and go.sum has %d", got, want)
	}
}

func TestWrongArguments(t *testing.T) {
	t.Chdir("../..")
	for name, args := range map[string][]string{
		"no file":     {"v1", commit, "https://example.com"},
		"absent file": {"v1", commit, "https://example.com", "absent"},
		"no builder":  {"v1", commit, "", "LICENSE"},
		"no commit":   {"v1", "main", "https://example.com", "LICENSE"},
	} {
		if err := run(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, sums := range []string{"a v1", "a v1 h2:AA==", "a v1 h1:?"} {
		if _, err := modules(sums); err == nil {
			t.Errorf("go.sum %q: no error", sums)
		}
	}
}
