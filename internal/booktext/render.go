package booktext

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// Render returns a chapter as plain text in at most width columns. Headings are underlined.
// Paragraphs, lists and tables are wrapped. Blocks of code are indented by four spaces and
// otherwise unchanged. Links keep only their text.
func Render(markdown string, width int) string {
	r := &renderer{width: max(width, 40)}
	for line := range strings.Lines(markdown) {
		r.line(strings.TrimRight(line, "\n"))
	}
	r.flush()
	return strings.Trim(r.out.String(), "\n") + "\n"
}

// Title returns the text of the first heading.
func Title(markdown string) string {
	for line := range strings.Lines(markdown) {
		if text, ok := strings.CutPrefix(line, "# "); ok {
			return inline(strings.TrimSpace(text))
		}
	}
	return ""
}

// A renderer collects the lines of a block until the block ends.
type renderer struct {
	out    strings.Builder
	width  int
	fenced bool
	words  string // of the paragraph or list item
	bullet string // indentation and mark, printed before its first line
	table  [][]string
}

var (
	heading = regexp.MustCompile(`^(#+) +(.*)$`)
	item    = regexp.MustCompile(`^( *)([-*]|\d+\.) +(.*)$`)
	divider = regexp.MustCompile(`^\|[-:| ]+\|$`)
	links   = regexp.MustCompile(`!?\[([^\]]*)\]\([^)\s]*\)`)
	strong  = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	code    = regexp.MustCompile("``? ?([^`]+?) ?``?")
)

func (r *renderer) line(s string) {
	trimmed := strings.TrimSpace(s)
	switch {
	case strings.HasPrefix(trimmed, "```"):
		r.flush()
		r.fenced = !r.fenced
		if !r.fenced {
			r.blank()
		}
	case r.fenced:
		r.print("    " + s)
	case trimmed == "":
		r.flush()
		r.blank()
	case r.words == "" && strings.HasPrefix(s, "    "):
		r.flush()
		r.print(s)
	case heading.MatchString(s):
		r.flush()
		r.heading(heading.FindStringSubmatch(s))
	case strings.HasPrefix(trimmed, "|"):
		r.endWords()
		if !divider.MatchString(trimmed) {
			r.table = append(r.table, cells(trimmed))
		}
	case item.MatchString(s):
		r.flush()
		m := item.FindStringSubmatch(s)
		r.bullet, r.words = m[1]+m[2]+" ", m[3]
	default:
		r.endTable()
		r.words += " " + trimmed
	}
}

func (r *renderer) heading(m []string) {
	text := inline(m[2])
	mark := map[int]string{1: "=", 2: "-"}[len(m[1])]
	r.blank()
	r.print(text)
	if mark != "" {
		r.print(strings.Repeat(mark, utf8.RuneCountInString(text)))
	}
	r.blank()
}

func (r *renderer) print(s string) { r.out.WriteString(strings.TrimRight(s, " ") + "\n") }

// blank prints an empty line, unless the last line is empty.
func (r *renderer) blank() {
	if s := r.out.String(); s != "" && !strings.HasSuffix(s, "\n\n") {
		r.out.WriteByte('\n')
	}
}

func (r *renderer) flush() {
	r.endWords()
	r.endTable()
}

func (r *renderer) endWords() {
	if r.words == "" {
		return
	}
	rest := strings.Repeat(" ", len(r.bullet))
	for i, line := range wrap(inline(strings.TrimSpace(r.words)), r.width-len(r.bullet)) {
		if i == 0 {
			r.print(r.bullet + line)
			continue
		}
		r.print(rest + line)
	}
	r.words, r.bullet = "", ""
}

// cells returns the cells of a row. \| in a cell is a character.
func cells(row string) []string {
	const bar = "\x00"
	row = strings.ReplaceAll(strings.Trim(row, "|"), `\|`, bar)
	var out []string
	for cell := range strings.SplitSeq(row, "|") {
		out = append(out, inline(strings.TrimSpace(strings.ReplaceAll(cell, bar, "|"))))
	}
	return out
}

func (r *renderer) endTable() {
	if r.table == nil {
		return
	}
	widths := columns(r.table, r.width)
	for i, row := range r.table {
		r.row(row, widths)
		if i == 0 {
			var rule []string
			for _, w := range widths {
				rule = append(rule, strings.Repeat("-", w))
			}
			r.print(strings.Join(rule, "  "))
		}
	}
	r.table = nil
}

// columns returns the widths of a table's columns, which are two blanks apart. If the table is
// wider than total, the widest columns get less.
func columns(table [][]string, total int) []int {
	var widths []int
	for _, row := range table {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 1)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	const narrow = 8
	for {
		sum, widest := 2*(len(widths)-1), 0
		for i, w := range widths {
			sum += w
			if w > widths[widest] {
				widest = i
			}
		}
		if sum <= total || widths[widest] <= narrow {
			return widths
		}
		widths[widest]--
	}
}

func (r *renderer) row(row []string, widths []int) {
	wrapped := make([][]string, len(row))
	height := 0
	for i, cell := range row {
		wrapped[i] = wrap(cell, widths[i])
		height = max(height, len(wrapped[i]))
	}
	for n := range height {
		var line strings.Builder
		for i, lines := range wrapped {
			text := ""
			if n < len(lines) {
				text = lines[n]
			}
			line.WriteString(text + strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(text))) + "  ")
		}
		r.print(line.String())
	}
}

// inline removes the marks of links, emphasis and code.
func inline(s string) string {
	s = links.ReplaceAllString(s, "$1")
	s = strong.ReplaceAllString(s, "$1")
	return code.ReplaceAllString(s, "$1")
}

// wrap breaks s into lines of at most width columns. A longer word gets its own line.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
