// Package robust holds the flows of vm_robust, which the Python tool does not have. They test VFs
// and machines under resets, kills, driver reloads and sleep, and all VFs at once. There is a file
// for each kind.
package robust
