// Package cli is the command line of vmtb: the root command, exit codes, the help with the book,
// man pages and completion.
//
// Each family of commands has a room below it: run, vf, vm, image, lab and host. A command there is
// a struct with its flags, and a method run(ctx, env, ...) that does the work, so that tests call
// it without a process. Rooms of commands never import each other. Code for several rooms is in
// env, flows and machines. Only [Main] turns errors into messages and exit codes, which
// docs/exit-codes.md lists.
package cli
