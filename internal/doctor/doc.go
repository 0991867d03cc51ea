// Package doctor checks whether this machine, and a guest image, have what flows need, and says
// what to do about what is missing. It changes nothing.
//
// A check is a function that looks at one thing and returns a [Result]; [Target.CheckHost] and
// [Target.CheckImage] run all checks of a machine and of an image. To add one, write the function
// and name it in the list: hostChecks in checks.go, or CheckImage in guest.go.
package doctor
