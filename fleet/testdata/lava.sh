#!/bin/sh
# lava.sh DIR DEBS: installs LAVA in namespaces, and runs the book's recipe for LAVA with two
# devices. DEBS has Debian's packages, and DIR/toys is a vmtb. An overlay in memory is over the machine's file system, so
# nothing outside of DIR changes. TestLAVA calls this script with unshare(1).
set -eu
dir=$1
mount -t tmpfs -o size=4g tmpfs "$dir/mnt"
mkdir "$dir/mnt/upper" "$dir/mnt/work" "$dir/mnt/all"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/mnt/upper,workdir=$dir/mnt/work" "$dir/mnt/all"
cd "$dir/mnt/all"
mount --rbind /dev dev
mount -t tmpfs tmpfs dev/shm # PostgreSQL has files there
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
for d in run tmp mnt; do mount -t tmpfs tmpfs $d; done
mkdir -p run/lock run/sshd run/postgresql mnt/debs mnt/test
chmod 1777 tmp run/lock
mount --bind "$2" mnt/debs
mount --bind "$dir" mnt/test
hostname lavalab
ip link set lo up
echo '127.0.0.1 localhost lavalab' >etc/hosts
printf '#!/bin/sh\nexit 101\n' >usr/sbin/policy-rc.d # no package starts a service
chmod 755 usr/sbin/policy-rc.d
printf '#!/bin/sh\nexport VMTB_STATE_DIR=$TOY_DIR/state\ncase $1 in doctor) exit 0 ;; esac\nexec %s as-vmtb "$@"\n' \
	/mnt/test/toys >usr/local/bin/vmtb
chmod 755 usr/local/bin/vmtb
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
	DEBIAN_FRONTEND=noninteractive chroot . /bin/sh -c 'sh /mnt/test/lava-up.sh && sh /mnt/test/lava-lab.sh'
