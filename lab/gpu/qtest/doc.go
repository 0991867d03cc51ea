// Package qtest drives the emulated GPU without a guest. QEMU runs with the accelerator "qtest": no
// processor runs, and the test reads and writes memory, registers and the clock over a socket.
package qtest
