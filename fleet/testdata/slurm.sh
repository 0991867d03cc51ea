#!/bin/sh
# slurm.sh DIR VMTB: runs the recipe for Slurm with three nodes in namespaces, and kills one of them.
# DIR/root has the unpacked packages of Debian. An overlay puts DIR/root over the machine's file
# system, so nothing outside of DIR changes. TestSlurm calls this script with unshare(1).
set -eu
dir=$1
vmtb=$2
mount -t tmpfs tmpfs "$dir/mnt"
mkdir "$dir/mnt/upper" "$dir/mnt/work" "$dir/mnt/all"
cp -a "$dir/root/." "$dir/mnt/upper/"
for d in bin sbin lib; do # on the machine these are links to directories of /usr
	[ ! -d "$dir/mnt/upper/$d" ] || { cp -a "$dir/mnt/upper/$d" "$dir/mnt/upper/usr/" && rm -r "$dir/mnt/upper/$d"; }
done
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/mnt/upper,workdir=$dir/mnt/work" "$dir/mnt/all"
cd "$dir/mnt/all"
for d in dev proc sys tmp; do mount --rbind "/$d" $d; done
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs sys/fs/cgroup
mkdir -p run/munge run/lock etc/munge var/lib/munge var/log/munge etc/slurm var/lib/slurmctld var/log/slurm srv/runs usr/local/bin
for n in 1 2 3; do mkdir -p var/lib/slurmd.dut$n sys/fs/cgroup/freezer sys/fs/cgroup/memory sys/fs/cgroup/cpuset; done
for p in slurmctld slurmd slurmstepd; do ln -s $p-wlm usr/sbin/$p; done # as Debian's alternatives
ldconfig -r .
hostname slurmlab
ip link set lo up
ip addr add 10.9.9.1/24 dev lo # Slurm needs an address that is not a loopback address
echo '127.0.0.1 localhost
10.9.9.1 slurmlab' >etc/hosts
head -c 1024 /dev/urandom >etc/munge/munge.key
chmod 600 etc/munge/munge.key
chown -R root:root etc/munge var/lib/munge var/log/munge run/munge
printf '#!/bin/sh\nexport TOY_DIR=/srv/$SLURMD_NODENAME VMTB_STATE_DIR=/srv/$SLURMD_NODENAME/state\nmkdir -p $TOY_DIR\nexec %s as-vmtb "$@"\n' "$vmtb" >usr/local/bin/vmtb
chmod 755 usr/local/bin/vmtb
echo 'CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no' >etc/slurm/cgroup.conf
{
	echo 'ClusterName=lab
SlurmctldHost=slurmlab
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/var/lib/slurmctld
SlurmdSpoolDir=/var/lib/slurmd.%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.%n.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=2,sched_interval=1
SlurmdTimeout=10
ReturnToService=2
MailProg=/bin/true
PartitionName=duts Nodes=dut[1-3] Default=YES State=UP OverSubscribe=EXCLUSIVE'
	for n in 1 2 3; do
		echo "NodeName=dut$n NodeHostname=slurmlab NodeAddr=slurmlab Port=1700$n CPUs=1 Features=gpu-bmg,vfs-24"
	done
} >etc/slurm/slurm.conf
exec chroot . /bin/sh "$dir/lab.sh"
