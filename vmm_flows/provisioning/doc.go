// Package provisioning holds the flows of xe_provisioning, which the Python tool does not have.
// They check that a guest gets the resources that the host gave to its VF, and that returned
// resources are free.
package provisioning
