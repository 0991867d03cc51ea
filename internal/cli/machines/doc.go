// Package machines has code that "vmtb vm" and "vmtb lab" share for kept machines. It lists them,
// prints their logs, ends them and completes their names. It also turns the result of a guest's
// command into an exit code.
package machines
