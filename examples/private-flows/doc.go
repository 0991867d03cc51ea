// Command acme-vmtb is a vmtb with flows of one's own: those of this program beside all that vmtb comes with. It has the same
// verbs and flags, "lab run" included.
package main
