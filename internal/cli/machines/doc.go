// Package machines has what "vmtb vm" and "vmtb lab" do alike to machines that a keeper keeps: list
// them, print their logs, end them, complete their names, and turn the end of a command in a guest
// into an exit code.
package machines
