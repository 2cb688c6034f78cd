package docstest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// root is the top of the repository, from here.
const root = "../.."

var (
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	code    = regexp.MustCompile("`[^`]*`")
	link    = regexp.MustCompile(`!?\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
)

// documents returns the repository's Markdown files.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			all = append(all, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLinks: the files and headings that a document links to exist.
func TestLinks(t *testing.T) {
	all := documents(t)
	if len(all) < 5 {
		t.Fatalf("only %q", all)
	}
	for _, path := range all {
		for _, problem := range deadLinks(path, read(t, path)) {
			t.Errorf("%s: %s", path, problem)
		}
	}
}

// deadLinks returns what is wrong with the links of a document. It does not follow links
// to other sites.
func deadLinks(path, text string) []string {
	var problems []string
	prose := code.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
	for _, m := range link.FindAllStringSubmatch(prose, -1) {
		u, err := url.Parse(m[1])
		switch {
		case err != nil:
			problems = append(problems, fmt.Sprintf("%s: %v", m[1], err))
			continue
		case u.Scheme == "https":
			continue
		case u.Scheme != "" || strings.HasPrefix(u.Path, "/"):
			problems = append(problems, m[1]+": is neither https nor a relative path")
			continue
		}
		target, content := path, text
		if u.Path != "" {
			target = filepath.Join(filepath.Dir(path), u.Path)
			data, err := os.ReadFile(target)
			if info, e := os.Stat(target); e != nil || err != nil && !info.IsDir() {
				problems = append(problems, m[1]+": there is no such file")
				continue
			}
			content = string(data)
		}
		if u.Fragment != "" && !slices.Contains(anchors(content), u.Fragment) {
			problems = append(problems, fmt.Sprintf("%s: %s has no such heading", m[1], target))
		}
	}
	return problems
}

// anchors returns the anchors that GitHub gives a document's headings.
func anchors(text string) []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return all
}

func TestDeadLinksAreFound(t *testing.T) {
	const text = "# One `two`, three\n" +
		"[a](links_test.go) [b](#one-two-three) [c](https://example.org) [d](../docstest) `[code](nowhere)`\n" +
		"[e](nowhere.md) [f](#nothing) [g](http://example.org) [h](/etc/passwd)\n" +
		"```\n# no heading\n[i](nowhere)\n```\n"
	got := deadLinks("text.md", text)
	for _, want := range []string{"nowhere.md", "#nothing", "http://example.org", "/etc/passwd"} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, want+":") }) {
			t.Errorf("%s is not found among %q", want, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("%q", got)
	}
}

// TestManualIsLinked: some document links to every document in docs.
func TestManualIsLinked(t *testing.T) {
	files, err := filepath.Glob(root + "/docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var text strings.Builder
	for _, path := range append(files, readme) {
		text.WriteString(strings.ReplaceAll(read(t, path), "(docs/", "("))
	}
	for _, path := range files {
		if name := filepath.Base(path); !strings.Contains(text.String(), "("+name) {
			t.Errorf("neither README.md nor another document links to docs/%s", name)
		}
	}
}

// TestPolicy: the AWS policy is valid JSON, and grants read access only.
func TestPolicy(t *testing.T) {
	_, text, _ := strings.Cut(read(t, root+"/docs/security.md"), "```json\n")
	text, _, _ = strings.Cut(text, "```")
	var policy struct {
		Version   string
		Statement []struct {
			Effect   string
			Action   []string
			Resource string
		}
	}
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatal(err)
	}
	if policy.Version != "2012-10-17" || len(policy.Statement) != 1 || policy.Statement[0].Effect != "Allow" {
		t.Errorf("%+v", policy)
	}
	for _, action := range policy.Statement[0].Action {
		name, ours := strings.CutPrefix(action, "kinesisvideo:")
		if !ours || !strings.HasPrefix(name, "Get") && !strings.HasPrefix(name, "List") && !strings.HasPrefix(name, "Describe") {
			t.Errorf("%s does more than read", action)
		}
	}
}
