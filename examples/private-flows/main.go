package main

import (
	"context"
	"os"

	"vmtb"
	"vmtb/vmm_flows"
)

func main() { os.Exit(vmtb.Main(context.Background(), os.Args, vmm_flows.Register, Register)) }
