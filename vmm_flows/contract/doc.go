// Package contract is the flow xe_contract. It checks the rules of bench/xe/contract on the running
// kernel, with a class for each section and a case for each rule. The Python tool has no such flow.
//
// The flow runs without machines, on a PF without VFs. Rules that harm a machine in use are
// skipped, unless the host is the lab or the configuration allows them (allow_destructive). Rules
// that crash released kernels must be selected by name and need --destructive.
package contract
