package html

import (
	"cmp"
	"slices"
	"strings"

	"vmtb/flow"
	"vmtb/report/run"
)

type matrixView struct {
	frame
	Tables []matrixTable
}

type matrixTable struct {
	File    string
	Columns [][]string // each is a name, split into lines
	Rows    []matrixRow
}

type matrixRow struct {
	Head, Name, Rest string // if Head is set, a class begins with this row
	Span             int
	Cells            []matrixCell
}

type matrixCell struct{ Class, Href, Title string }

// matrix returns a table for each file. A column is a configuration. A row is a case with the rest
// of its parameter.
func (s *site) matrix() matrixView {
	v := matrixView{frame: s.frame("vmtb: matrix", "matrix")}
	var files []string
	for _, g := range s.h.Groups {
		if !slices.Contains(files, g.ID.File) {
			files = append(files, g.ID.File)
		}
	}
	for _, file := range files {
		v.Tables = append(v.Tables, s.matrixTable(file))
	}
	return v
}

func (s *site) matrixTable(file string) matrixTable {
	t := matrixTable{File: run.Clean(file)}
	var columns []string
	for _, g := range s.h.Groups {
		if column, _ := splitParam(g.ID.Param); g.ID.File == file && !slices.Contains(columns, column) {
			columns = append(columns, column)
			t.Columns = append(t.Columns, columnLines(column))
		}
	}
	type key struct{ class, name, rest string }
	rows := map[key]int{}
	class := "\x00" // differs from every class name
	for _, g := range s.h.Groups {
		if g.ID.File != file {
			continue
		}
		column, rest := splitParam(g.ID.Param)
		for _, c := range g.Cases {
			k := key{g.ID.Class, c.ID.Case, rest}
			i, ok := rows[k]
			if !ok {
				i = len(t.Rows)
				rows[k] = i
				t.Rows = append(t.Rows, matrixRow{
					Name: run.Clean(c.ID.Case), Rest: run.Clean(rest), Span: len(columns) + 1,
					Cells: make([]matrixCell, len(columns)),
				})
				if g.ID.Class != class {
					class, t.Rows[i].Head = g.ID.Class, cmp.Or(run.Clean(g.ID.Class), "without a class")
				}
			}
			t.Rows[i].Cells[slices.Index(columns, column)] = matrixCell{
				resultClass(c.Last().Result), s.caseHref(c.ID), run.Clean(c.Name),
			}
		}
	}
	return t
}

// splitParam splits a parameter into the configuration, such as "1VF-(P:AUTO S:INFINITE)", and the
// rest.
func splitParam(param string) (config, rest string) {
	i := strings.IndexByte(param, ')')
	if i < 0 || !strings.Contains(param[:i], "(") {
		return param, ""
	}
	return param[:i+1], strings.TrimPrefix(param[i+1:], "-")
}

// columnLines splits a configuration into lines: "1VF", "P:AUTO", "S:INFINITE".
func columnLines(config string) []string {
	name, inside, ok := strings.Cut(run.Clean(config), "-(")
	if !ok {
		if name == "" {
			name = "no parameter"
		}
		return []string{name}
	}
	return append([]string{name}, strings.Fields(strings.TrimSuffix(inside, ")"))...)
}

type comparisonView struct {
	frame
	Earlier, EarlierWhen string
	EnvironmentLine      string
	Environment          []run.Difference
	New, Fixed, Still    []run.Change
	Lists                []changeList
}

type changeList struct {
	Name, Anchor, Doc string
	Changes           []changeView
}

type changeView struct{ Was, Class, Name, Href, Reason string }

func (s *site) compareView() comparisonView {
	c := s.comparison
	v := comparisonView{
		frame: s.frame("vmtb: comparison", "compare"), Earlier: run.Clean(c.Earlier.Info.Dir),
		EarlierWhen: c.Earlier.Info.Start.UTC().Format("2 January 2006, 15:04"), Environment: c.Environment,
		EnvironmentLine: c.EnvironmentLine(),
		New:             c.New, Fixed: c.Fixed, Still: c.Still,
	}
	for _, l := range []struct {
		changeList
		changes []run.Change
	}{
		{changeList{Name: "New", Anchor: "new", Doc: "They fail now, and did not fail before."}, c.New},
		{changeList{Name: "Fixed", Anchor: "fixed", Doc: "They failed before, and pass now."}, c.Fixed},
		{changeList{Name: "Still failing", Anchor: "still", Doc: "They failed before, too."}, c.Still},
		{
			changeList{
				Name: "Not tried", Anchor: "untold", Doc: "They failed before, and were skipped or not run now.",
			},
			c.NotTried,
		},
	} {
		for _, ch := range l.changes {
			cv := changeView{
				Was: "notrun", Class: resultClass(ch.Now.Last().Result), Name: run.Clean(ch.Now.Name),
				Href: s.caseHref(ch.Now.ID),
			}
			if ch.Before != nil {
				cv.Was = resultClass(ch.Before.Last().Result)
			}
			if ch.Now.Last().Result != flow.Pass {
				cv.Reason = run.OneLine(ch.Now.Last().Reason, 300)
			}
			l.Changes = append(l.Changes, cv)
		}
		v.Lists = append(v.Lists, l.changeList)
	}
	return v
}
