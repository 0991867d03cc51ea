// Package vmtb is the VM test bench as a library: [Main] is the whole command line, which package
// internal/cli implements. A program with flows of its own is ten lines, like cmd/vmtb:
//
//	func main() { os.Exit(vmtb.Main(context.Background(), os.Args, myflows.Register)) }
package vmtb
