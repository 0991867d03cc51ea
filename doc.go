// Package vmtb is the command line of the VM test bench as a library: [Main] is all of it. A program of somebody
// else's own flows is ten lines, like cmd/vmtb:
//
//	func main() { os.Exit(vmtb.Main(context.Background(), os.Args, myflows.Register)) }
//
// Each verb is a file: its flags are a struct, and a function runX(ctx, options) does the work, so that tests call it
// without a process. Main alone turns errors into messages and exit codes; docs/exit-codes.md lists those.
package vmtb
