package vmtb_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// maxMethods is how many methods a type may have. More are too many to keep in mind, and each of
// them can touch all state of the type. A group of methods with state of its own belongs in a type
// with a name.
const maxMethods = 60

// largeReceivers are the types that are over the limit and must become smaller. Nothing may be
// added.
var largeReceivers = map[string]bool{
	"bench/vm.VM": true, // snapshots, migration, evidence and access are to become types of their own
}

// No type has more than 60 methods.
func TestNoLargeReceiver(t *testing.T) {
	methods := map[string]int{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil {
				pkg := filepath.Dir(path)
				if pkg == "." {
					pkg = "vmtb"
				}
				methods[pkg+"."+receiver(f.Recv.List[0].Type)]++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range methods {
		if n > maxMethods && !largeReceivers[name] {
			t.Errorf("%s has %d methods, want at most %d: a group with state of its own is a type", name, n, maxMethods)
		}
	}
	for name := range largeReceivers {
		if methods[name] <= maxMethods {
			t.Errorf("%s has %d methods: take it off the list of large receivers", name, methods[name])
		}
	}
}

// receiver returns the name of a receiver's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}
