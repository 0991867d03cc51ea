// Package doctor checks that this machine, and a guest image, can run flows, and says what to do if
// they cannot. It changes nothing.
//
// A check is a function that examines one thing and returns a [Result]. [Target.CheckHost] and
// [Target.CheckImage] run all checks of a machine and of an image. To add a check, write the
// function and add it to the list: hostChecks in checks.go, or CheckImage in guest.go.
package doctor
