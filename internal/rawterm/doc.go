// Package rawterm switches a terminal to raw mode, for programs that draw on it, such as a
// machine's console.
package rawterm
