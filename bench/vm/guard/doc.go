// Package guard runs QEMU below a process that outlives vmtb: the guard.
//
// QEMU must not outlive the vmtb that started it, not even after kill -9. Linux' parent-death
// signal alone does not ensure that: Linux sends it when the thread that forked ends, and Go ends
// threads when it likes. Therefore a guard sits between vmtb and QEMU: the same binary, started
// again with a hidden first word, which holds one end of a pipe. When vmtb ends, however it ends,
// the pipe closes, and the guard kills QEMU and removes the private directories of the machine. If
// the guard itself is killed, the parent-death signal works, because the guard forks QEMU from a
// locked thread.
//
// Every program that starts machines begins with
//
//	func main() {
//		if code, ran := guard.Run(os.Args); ran {
//			os.Exit(code)
//		}
//
// and a test binary does the same in TestMain. [Start] is the other side: it starts a guard with a
// program below it, and returns the [Process].
package guard
