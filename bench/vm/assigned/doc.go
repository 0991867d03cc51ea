// Package assigned describes VFs of an xe PF to the machines that get them.
package assigned
