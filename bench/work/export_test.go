package work

// For the tests of this package.
var (
	SplitWords = splitWords
	ParseState = func(s string) (done bool, code int, err error) {
		st, err := parseState(s)
		return st.done, st.code, err
	}
)
