#!/bin/sh
lava-test-set start basic.VmSetup
lava-test-case basic.VmSetup.vm_boot.1VF --result unknown --measurement 1.000 --units seconds
lava-test-case basic.VmSetup.vm_boot.2VF --result skip --measurement 0.000 --units seconds
lava-test-set stop basic.VmSetup
