#!/bin/bash
# Runs a command in a node of its own: in-node.sh COMMAND [ARGUMENT...]
#
# Mounts, network, processes, System V IPC, host name and cgroups are new namespaces, so that a kubelet and containerd
# can be started in there as on any machine. When the command ends, or is killed, or this script is, the kernel ends
# every process of it and takes mounts, bridges and addresses with them. Cgroups are directories, which this script
# removes. Inside, /run is new, what is written to /etc and /var is dropped, and addresses are:
#   10.88.0.1   the node, on the bridge node0 of which pods get 10.88.0.x; also who answers for names
#   10.0.0.1    the kube-apiserver, as pods are told
#
# Exit status 77, after saying why, where that cannot be done.
set -euo pipefail

# mount point and options of each hierarchy of cgroup v1
hierarchies() { awk '$3 == "cgroup" {print $2, $4}' /proc/mounts; }

skip()
{
    echo "pods: $*"
    exit 77
}

check_machine()
{
    local what
    [ "$(id -u)" = 0 ] || skip "a kubelet needs root"
    for what in unshare setpriv ip; do
        command -v "$what" >/dev/null || skip "$what is not installed (util-linux, iproute2)"
    done
    for what in cpu cpuset memory pids devices freezer; do
        hierarchies | grep -Eq "[ ,]$what(,|$)" ||
            skip "no hierarchy of cgroup v1 with the controller $what: a node of its own is made on v1 only so far"
    done
    unshare --mount --net --pid --cgroup --ipc --uts --fork true 2>/dev/null || skip "no namespaces can be made here"
}

# ---- outside

remove_cgroups()
{
    local at options end=$((SECONDS + 20))
    while read -r at options; do
        while [ -d "$at/$1" ] && [ $SECONDS -lt $end ]; do # what was killed may take a moment to be gone
            find "$at/$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
    done < <(hierarchies)
}

remove_what_others_left()
{
    local left
    for left in /sys/fs/cgroup/*/ambient-node-*; do
        [ ! -d "$left" ] || kill -0 "${left##*-}" 2>/dev/null || remove_cgroups "${left##*/}"
    done
}

enter_cgroups()
{
    local at options file
    while read -r at options; do
        mkdir -p "$at/$1"
        for file in cpuset.cpus cpuset.mems; do # a new one of these is empty, and takes no process
            [ ! -e "$at/$file" ] || cat "$at/$file" >"$at/$1/$file"
        done
        echo "$BASHPID" >"$at/$1/cgroup.procs"
    done < <(hierarchies)
}

outside()
{
    local name=ambient-node-$$ child=
    check_machine
    remove_what_others_left
    end()
    {
        [ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true
        wait || true
        remove_cgroups "$name"
    }
    trap end EXIT
    trap 'exit 143' INT TERM HUP
    (
        enter_cgroups "$name"
        exec setpriv --pdeathsig KILL unshare --mount --net --pid --cgroup --ipc --uts --fork --kill-child --mount-proc \
            "$0" --inside "$@"
    ) &
    child=$!
    local status=0
    wait "$child" || status=$?
    child=
    exit "$status"
}

# ---- inside

mount_cgroups()
{
    local all at options
    all=$(hierarchies)
    umount -l /sys/fs/cgroup
    mount -t sysfs sysfs /sys
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    while read -r at options; do
        mkdir -p "$at"
        mount -t cgroup -o "$options" cgroup "$at"
    done <<<"$all"
}

mount_files()
{
    local folder
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /run/node /run/lock
    for folder in etc var; do
        mkdir -p "/run/over/$folder" "/run/over/$folder.work"
        mount -t overlay -o "lowerdir=/$folder,upperdir=/run/over/$folder,workdir=/run/over/$folder.work" overlay "/$folder"
    done
    rm -f /etc/resolv.conf
    echo 'nameserver 10.88.0.1' >/etc/resolv.conf
}

make_network()
{
    hostname node
    ip link set lo up
    ip address add 10.0.0.1/32 dev lo
    ip link add node0 type bridge
    ip address add 10.88.0.1/24 dev node0
    ip link set node0 up
    ip route add default dev node0
}

inside()
{
    mount --make-rprivate /
    mount_cgroups
    mount_files
    make_network
    export AMBIENT_NODE=/run/node
    # Not exec: this shell is the namespace's init, who buries the dead.
    "$@"
}

if [ "${1:-}" = --inside ]; then
    shift
    inside "$@"
else
    outside "$@"
fi
