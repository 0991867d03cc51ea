package report

import (
	"cmp"
	"slices"
	"strings"

	"vmtb/flow"
)

type matrixView struct {
	frame
	Tables []matrixTable
}

type matrixTable struct {
	File    string
	Columns [][]string // each a name in lines
	Rows    []matrixRow
}

type matrixRow struct {
	Head, Name, Rest string // Head: a class begins with this row
	Span             int
	Cells            []matrixCell
}

type matrixCell struct{ Class, Href, Title string }

// matrix is a table for each file: a row for each case and what its parameter has beyond the configuration, a column for
// each configuration.
func (s *site) matrix() matrixView {
	v := matrixView{frame: s.frame("vmtb: matrix", "matrix")}
	var files []string
	for _, g := range s.h.groups {
		if !slices.Contains(files, g.id.File) {
			files = append(files, g.id.File)
		}
	}
	for _, file := range files {
		v.Tables = append(v.Tables, s.matrixTable(file))
	}
	return v
}

func (s *site) matrixTable(file string) matrixTable {
	t := matrixTable{File: clean(file)}
	var columns []string
	for _, g := range s.h.groups {
		if column, _ := splitParam(g.id.Param); g.id.File == file && !slices.Contains(columns, column) {
			columns = append(columns, column)
			t.Columns = append(t.Columns, columnLines(column))
		}
	}
	type key struct{ class, name, rest string }
	rows := map[key]int{}
	class := "\x00" // none
	for _, g := range s.h.groups {
		if g.id.File != file {
			continue
		}
		column, rest := splitParam(g.id.Param)
		for _, c := range g.cases {
			k := key{g.id.Class, c.ID.Case, rest}
			i, ok := rows[k]
			if !ok {
				i = len(t.Rows)
				rows[k] = i
				t.Rows = append(t.Rows, matrixRow{Name: clean(c.ID.Case), Rest: clean(rest), Span: len(columns) + 1, Cells: make([]matrixCell, len(columns))})
				if g.id.Class != class {
					class, t.Rows[i].Head = g.id.Class, cmp.Or(clean(g.id.Class), "without a class")
				}
			}
			t.Rows[i].Cells[slices.Index(columns, column)] = matrixCell{resultClass(c.last().Result), s.caseHref(c.ID), clean(c.Name)}
		}
	}
	return t
}

// splitParam splits a parameter into the configuration, "1VF-(P:AUTO S:INFINITE)", and the rest.
func splitParam(param string) (config, rest string) {
	i := strings.IndexByte(param, ')')
	if i < 0 || !strings.Contains(param[:i], "(") {
		return param, ""
	}
	return param[:i+1], strings.TrimPrefix(param[i+1:], "-")
}

// columnLines is a configuration in lines: "1VF", "P:AUTO", "S:INFINITE".
func columnLines(config string) []string {
	name, inside, ok := strings.Cut(clean(config), "-(")
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
	New, Fixed, Still    []change
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
		frame: s.frame("vmtb: comparison", "compare"), Earlier: clean(c.earlier.info.Dir),
		EarlierWhen: c.earlier.info.Start.UTC().Format("2 January 2006, 15:04"), New: c.New, Fixed: c.Fixed, Still: c.Still,
	}
	for _, l := range []struct {
		changeList
		changes []change
	}{
		{changeList{Name: "New", Anchor: "new", Doc: "They fail now, and did not before."}, c.New},
		{changeList{Name: "Fixed", Anchor: "fixed", Doc: "They failed before, and pass now."}, c.Fixed},
		{changeList{Name: "Still failing", Anchor: "still", Doc: "They failed before, too."}, c.Still},
		{changeList{Name: "Not tried", Anchor: "untold", Doc: "They failed before, and were skipped or not run now."}, c.Untold},
	} {
		for _, ch := range l.changes {
			cv := changeView{Was: "notrun", Class: resultClass(ch.now.last().Result), Name: clean(ch.now.Name), Href: s.caseHref(ch.now.ID)}
			if ch.before != nil {
				cv.Was = resultClass(ch.before.last().Result)
			}
			if ch.now.last().Result != flow.Pass {
				cv.Reason = oneLine(ch.now.last().Reason, 300)
			}
			l.Changes = append(l.Changes, cv)
		}
		v.Lists = append(v.Lists, l.changeList)
	}
	return v
}
