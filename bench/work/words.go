package work

import (
	"errors"
	"strings"
)

// splitWords splits a line of options like a shell with blanks, quotes and backslashes. It expands
// nothing.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, inWord, escaped := rune(0), false, false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteString(unescaped(r, quote))
			escaped = false
		case r == '\\' && quote != '\'':
			inWord, escaped = true, true
		case r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case strings.ContainsRune(" \t\n", r):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quote is not closed, or a backslash ends the text")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// unescaped returns the characters for a backslash followed by r.
func unescaped(r, quote rune) string {
	if quote == '"' && !strings.ContainsRune("\\\"$`", r) {
		return "\\" + string(r)
	}
	return string(r)
}
