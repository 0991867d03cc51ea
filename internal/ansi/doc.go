// Package ansi keeps the control sequences of terminals out of text.
package ansi
