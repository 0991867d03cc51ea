#!/bin/sh
lava-test-set start basic.VmSetup
lava-test-case basic.VmSetup.vm_boot.1VF-P_VGPU_PROFILE-S_DEFAULT_PROFILE --result pass --measurement 3.000 --units seconds
lava-test-case basic.VmSetup.vm_boot.2VF-P_VGPU_PROFILE-S_DEFAULT_PROFILE --result pass --measurement 3.000 --units seconds
lava-test-set stop basic.VmSetup
