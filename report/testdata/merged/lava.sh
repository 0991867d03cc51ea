#!/bin/sh
lava-test-set start basic.VmSetup
lava-test-case basic.VmSetup.vm_boot.1VF-P_VGPU_PROFILE-S_DEFAULT_PROFILE --result pass --measurement 3.000 --units seconds
lava-test-case basic.VmSetup.vm_boot.2VF-P_VGPU_PROFILE-S_DEFAULT_PROFILE --result pass --measurement 3.000 --units seconds
lava-test-case basic.VmSetup.vm_boot.1VF --result pass --measurement 1.000 --units seconds
lava-test-case basic.VmSetup.vm_boot.2VF --result unknown --measurement 0.000 --units seconds
lava-test-case basic.VmSetup.vm_boot.3VF --result skip --measurement 0.000 --units seconds
lava-test-set stop basic.VmSetup
