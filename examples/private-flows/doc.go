// Command acme-vmtb is a vmtb with your own flows. It has the flows of this module and all flows of
// vmtb, and all commands and flags of vmtb, including "lab run".
package main
