package tokenbooth_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func parse(t *testing.T, file string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// between returns what stands after the first occurrence of from and before the
// next one of to.
func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, from)
	inside, _, ended := strings.Cut(rest, to)
	if !found || !ended {
		t.Fatalf("no text between %q and %q", from, to)
	}
	return inside
}

func TestReadmeProgram(t *testing.T) {
	program := between(t, read(t, "README.md"), "```go\n", "```")
	if n := strings.Count(program, "\n"); n > 30 {
		t.Errorf("the program of README.md has %d lines, want at most 30", n)
	}
	body := between(t, program, "func main() {\n", "\n}\n")
	example := between(t, read(t, "example_test.go"), "func Example_program() {\n", "\n}\n")
	if body != example {
		t.Errorf("Example_program is not the program of README.md:\n%s\n\n%s", example, body)
	}
}

func TestExportedNames(t *testing.T) {
	const most = 30
	var names []string
	for _, file := range sources(t, ".") {
		if filepath.Dir(file) != "." {
			continue
		}
		for _, d := range parse(t, file).Decls {
			names = append(names, exported(d)...)
		}
	}
	if len(names) == 0 || len(names) > most {
		t.Errorf("%d exported names, want at most %d: %s", len(names), most, strings.Join(names, " "))
	}
}

// exported returns the names that a declaration at the top of a file exports.
func exported(d ast.Decl) (names []string) {
	var declared []*ast.Ident
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			declared = append(declared, d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				declared = append(declared, s.Name)
			case *ast.ValueSpec:
				declared = append(declared, s.Names...)
			}
		}
	}
	for _, name := range declared {
		if name.IsExported() {
			names = append(names, name.Name)
		}
	}
	return names
}

// TestArchitectureFiles holds docs/architecture.md to the files that there are.
func TestArchitectureFiles(t *testing.T) {
	page := read(t, "docs/architecture.md")
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_/]+\\.go)` \\|").FindAllStringSubmatch(page, -1) {
		listed = append(listed, m[1])
	}
	there := slices.Concat(sources(t, "."), sources(t, "store/sqlstore"), sources(t, "store/redisstore"))
	for _, file := range there {
		if !slices.Contains(listed, file) {
			t.Errorf("docs/architecture.md does not list %s", file)
		}
	}
	for _, file := range listed {
		if !slices.Contains(there, file) {
			t.Errorf("docs/architecture.md lists %s, which is not there", file)
		}
	}
}

// sources returns the Go files of the module at root that are no tests, by their paths
// with slashes.
func sources(t *testing.T, root string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root:
			if _, nested := os.Stat(filepath.Join(path, "go.mod")); nested == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			files = append(files, filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestReadmeQuotes holds the code that README.md quotes to code that is tested.
func TestReadmeQuotes(t *testing.T) {
	readme := read(t, "README.md")
	quoted := map[string]string{
		"cors of example_test.go": "func cors(" + between(t, read(t, "example_test.go"), "func cors(", "\n}\n") + "\n}\n",
	}
	recipes, err := filepath.Glob("interop/recipe_*_test.go")
	if err != nil || len(recipes) != 3 {
		t.Fatalf("recipes %v, %v", recipes, err)
	}
	for _, file := range recipes {
		quoted[file] = between(t, read(t, file), "// recipe:begin\n", "\n// recipe:end")
	}
	for source, code := range quoted {
		if !strings.Contains(readme, "```go\n"+code+"```") {
			t.Errorf("README.md does not quote %s", source)
		}
	}
}
