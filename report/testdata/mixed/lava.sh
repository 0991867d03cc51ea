#!/bin/sh
lava-test-set start basic.VmSetup
lava-test-case basic.VmSetup.vm_boot.1VF-P_VGPU_PROFILE-S_DEFAULT_PROFILE --result pass --measurement 3.250 --units seconds
lava-test-case basic.VmSetup.vm_boot.2VF-P_VGPU_PROFILE-S_DEFAULT_PROFILE --result fail --measurement 4.250 --units seconds
lava-test-case basic.VmSetup.tear-down.2VF-P_VGPU_PROFILE-S_DEFAULT_PROFILE --result unknown --measurement 2.000 --units seconds
lava-test-case basic.VmSetup.vm_boot.4VF-P_VGPU_PROFILE-S_DEFAULT_PROFILE --result unknown --measurement 0.000 --units seconds
lava-test-case basic.VmSetup.vm_boot.2VF-P_AUTO-S_INFINITE --result skip --measurement 0.000 --units seconds
lava-test-set stop basic.VmSetup
lava-test-set start migration.BusyMigrationWsim1
lava-test-case migration.BusyMigrationWsim1.save.1VF-P_AUTO-S_DEFAULT_PROFILE-WL_short_preempt-C_1-R_4000 --result pass --measurement 9.250 --units seconds
lava-test-case migration.BusyMigrationWsim1.restore.1VF-P_AUTO-S_DEFAULT_PROFILE-WL_short_preempt-C_1-R_4000 --result fail --measurement 8.250 --units seconds
lava-test-set stop migration.BusyMigrationWsim1
lava-test-set start migration.IdleMigration
lava-test-case migration.IdleMigration.save.1VF-P_AUTO-S_DEFAULT_PROFILE --result fail --measurement 61.250 --units seconds
lava-test-case migration.IdleMigration.restore.1VF-P_AUTO-S_DEFAULT_PROFILE --result pass --measurement 7.250 --units seconds
lava-test-set stop migration.IdleMigration
lava-test-set start migration.Checkpoint
lava-test-case migration.Checkpoint.save.1VF-P_AUTO-S_DEFAULT_PROFILE --result unknown --measurement 2.250 --units seconds
lava-test-case migration.Checkpoint.load.1VF-P_AUTO-S_DEFAULT_PROFILE --result skip --measurement 0.000 --units seconds
lava-test-case migration.Checkpoint.restore-dcd3a7d1.1VF-P_AUTO-S_DEFAULT_PROFILE --result unknown --measurement 1.000 --units seconds
lava-test-set stop migration.Checkpoint
lava-test-set start migration
lava-test-case migration.2vm_pause_resume --result skip --measurement 0.000 --units seconds
lava-test-set stop migration
