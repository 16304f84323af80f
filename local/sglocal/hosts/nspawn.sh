#!/bin/sh
# Keep one systemd-nspawn container running across its own reboots.
# Usage: nspawn.sh LOOP_PROCS_FILES -- MACHINE_PROCS_FILES -- systemd-nspawn ...
# The loop and the container join control groups of their own: in cgroup v2 a group that
# holds processes cannot hand controllers to groups below it.
set -u
while [ "$1" != -- ]; do echo $$ >"$1" || exit 1; shift; done
shift
machine=
while [ "$1" != -- ]; do machine="$machine $1"; shift; done
shift
while :; do
    (
        for file in $machine; do sh -c 'echo $PPID' >"$file" || exit 1; done
        exec "$@"
    )
    status=$?
    # 133: the guest asked for a reboot (systemd-nspawn's EXIT_FORCE_RESTART)
    [ "$status" -eq 133 ] || exit "$status"
done
