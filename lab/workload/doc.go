// Command workload stands in for the programs of IGT that use the GPU: the tests that VMM Flows run, and gem_wsim. The
// lab's images have it under their names, in IGT's directory, where the real igt_runner finds it.
//
// There is no GPU in the lab. The stand-in driver says which share of GPU time its function gets at each moment (see
// gpu.go), and a stand-in workload has done its work when the shares that it got add up to the amount of GPU time that
// the work takes. It sleeps meanwhile, so that it does not matter how slow the emulated CPU is.
//
// Command lines, output and exit codes are those of IGT 2.5, as far as igt_runner and vmtb use them; what it does not
// know it refuses. The program is built in the image with Debian's Go 1.24 and without modules: it may import the
// standard library only.
package main
