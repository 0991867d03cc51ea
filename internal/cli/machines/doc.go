// Package machines has code that "vmtb vm" and "vmtb lab" share for kept machines: list them, print
// their logs, end them, complete their names, and turn the result of a guest's command into an exit
// code.
package machines
