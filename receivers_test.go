package vmtb_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// maxMethods is how many methods a type may have. More are too many to keep in mind, and each of
// them can touch all state of the type. A group of methods with state of its own belongs in a type
// with a name.
const maxMethods = 60

// A methodSet is what the source says about one type: the names of its own methods, and the types
// that it embeds.
type methodSet struct {
	own    map[string]bool
	embeds []string
}

// all adds the names of the methods of a type to names: its own, and those that embedded types
// promote. Embedding types of another module adds none.
func all(sets map[string]*methodSet, name string, names, seen map[string]bool) {
	set := sets[name]
	if set == nil || seen[name] {
		return
	}
	seen[name] = true
	maps.Copy(names, set.own)
	for _, e := range set.embeds {
		all(sets, e, names, seen)
	}
}

// No type has more than 60 methods, those of embedded types included: a type that embeds its parts
// offers all of their methods.
func TestNoLargeReceiver(t *testing.T) {
	sets := map[string]*methodSet{}
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
		if err == nil {
			pkg := filepath.Dir(path)
			if pkg == "." {
				pkg = "vmtb"
			}
			collect(sets, pkg, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if vm := sets["bench/vm.VM"]; vm == nil || !vm.own["Close"] {
		t.Errorf("bench/vm.VM has the methods %v: does the test still read types?", vm)
	}
	for name := range sets {
		names := map[string]bool{}
		all(sets, name, names, map[string]bool{})
		if n := len(names); n > maxMethods {
			t.Errorf("%s has %d methods, want at most %d: a group with state of its own is a type", name, n, maxMethods)
		}
	}
}

// collect adds the methods and the embedded types of a file of pkg to sets.
func collect(sets map[string]*methodSet, pkg string, file *ast.File) {
	of := func(name string) *methodSet {
		if sets[pkg+"."+name] == nil {
			sets[pkg+"."+name] = &methodSet{own: map[string]bool{}}
		}
		return sets[pkg+"."+name]
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil {
			of(receiver(f.Recv.List[0].Type)).own[f.Name.Name] = true
		}
	}
	imports := importsOf(file)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		structure, ok := spec.Type.(*ast.StructType)
		if !ok {
			return true
		}
		for _, field := range structure.Fields.List {
			if len(field.Names) > 0 {
				continue
			}
			name := receiver(field.Type)
			if from, typ, ok := strings.Cut(name, "."); ok {
				name = imports[from] + "." + typ
			} else {
				name = pkg + "." + name
			}
			of(spec.Name.Name).embeds = append(of(spec.Name.Name).embeds, name)
		}
		return true
	})
}

// importsOf returns the directories of this module that a file imports, by the name in the file.
func importsOf(file *ast.File) map[string]string {
	dirs := map[string]string{}
	for _, i := range file.Imports {
		path, ok := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), "vmtb/")
		if !ok {
			continue
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		dirs[name] = path
	}
	return dirs
}

// receiver returns the name of the type of a receiver or an embedded field.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.SelectorExpr:
		return receiver(e.X) + "." + e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return "?"
}
