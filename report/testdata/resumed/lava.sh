#!/bin/sh
lava-test-set start basic.VmSetup
lava-test-case basic.VmSetup.vm_boot.1VF --result pass --measurement 1.000 --units seconds
lava-test-case basic.VmSetup.vm_boot.2VF --result unknown --measurement 63.000 --units seconds
lava-test-case basic.VmSetup.vm_boot.3VF --result pass --measurement 1.000 --units seconds
lava-test-set stop basic.VmSetup
