// Package contract is the flow xe_contract: the rules of bench/xe/contract, checked on the running kernel, a class for
// each section and a case for each rule. It is vmtb's own and has no counterpart in the Python tool.
//
// It runs without machines, on a PF without VFs. Rules that harm a machine in use are skipped
// unless the host is the lab or the configuration allows them (allow_destructive). Rules that crash
// released kernels are checked only if they are selected by name and --destructive was given.
package contract
