// Package rawterm gives a terminal to something that draws on it by itself, such as a machine's console.
package rawterm
