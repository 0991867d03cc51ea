// Package provisioning holds flows of our own, "xe_provisioning", that the Python tool has not:
// what the host gives a VF is what a guest gets, and what is given back is free.
package provisioning
