#!/bin/bash
# A Debian that is thrown away: this machine's files, with all that is written kept in memory, and systemd as the
# first process. To be run in a mount namespace of its own, in the network namespace that is to be the machine's:
#
#   boot.sh DIRECTORY     an empty directory, to mount things at
#
# It boots with each line that it reads; where its first process is killed, that was a power cut. What was written is
# seen in /upper there, what is below it in /lower. Nothing reaches the machine outside: no service of it is started,
# its devices are not there, its settings can be read only.
set -eu
top=$1
mount --make-rprivate /
mount -t tmpfs -o mode=755 package-test "$top"
mkdir "$top/upper" "$top/work" "$top/root" "$top/cgroup"
mount -t overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" overlay "$top/root"
cd "$top/root"

# Of a Debian there is left what starts no more than systemd and its journal.
rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires etc/init.d/* etc/rc?.d/* usr/sbin/policy-rc.d \
    {etc,usr/lib,usr/local/lib}/systemd/system-generators
: >etc/fstab
find usr/lib/systemd/system/*.wants -type l ! -name 'systemd-journald*' ! -name systemd-tmpfiles-setup.service -delete
mkdir -p etc/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\n' >etc/systemd/journald.conf.d/test.conf
ln -sf /lib/systemd/system/multi-user.target etc/systemd/system/default.target
# The index of all man pages is not what is tried here. Images for containers leave out what is documentation.
rm -rf var/lib/man-db/auto-update etc/dpkg/dpkg.cfg.d
# A host that has it already.
chroot . dpkg --purge wanshift >/dev/null 2>&1 || true
chroot . userdel wanshift >/dev/null 2>&1 || true

mount -t cgroup2 cgroup2 "$top/cgroup"
boots=0
while read -r; do
    boots=$((boots + 1))
    group=$top/cgroup/$(basename "$top")/$boots
    mkdir -p "$group"
    (
        echo 0 >"$group/cgroup.procs"
        exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --uts --ipc --cgroup bash -eu -c '
            mkdir -p upper lower outside
            mount --bind "$1/upper" upper
            mount --bind / lower
            mount -t proc proc proc
            mount --bind proc/sys proc/sys
            mount -o remount,bind,ro proc/sys
            mount -t sysfs sysfs sys
            mount -t cgroup2 cgroup2 sys/fs/cgroup
            mount -t tmpfs -o mode=755 dev dev
            mkdir dev/pts dev/shm
            mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
            ln -s pts/ptmx dev/ptmx
            for device in null zero full random urandom tty; do
                touch dev/$device
                mount --bind /dev/$device dev/$device
            done
            mount -t tmpfs -o mode=755 run run
            mount -t tmpfs tmp tmp
            pivot_root . outside
            umount -l /outside
            rmdir /outside
            exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd' bash "$top"
    ) </dev/null || true
done
