// Package host is the commands about this machine as a whole: "vmtb doctor" checks what runs need,
// "vmtb recover" restores the host after a run that died.
package host
