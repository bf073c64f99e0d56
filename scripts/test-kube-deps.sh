#!/bin/bash
# What the tests against a real Kubernetes need, in a cache that is kept.
#
#   test-kube-deps.sh [--node]            makes what is missing, prints the directory (add bin/ to find the programs)
#   test-kube-deps.sh [--node] --check    makes nothing; prints the directory if all is there, else says what is missing
#
# That is etcd, kube-apiserver and kubectl. With --node it is also what a node runs: kubelet, containerd, runc, network
# plug-ins, and busybox for images of the tests.
#
# - etcd comes from Debian's package etcd-server. It is unpacked into the cache, not installed: an installed package
#   starts a service of its own. So are containerd, runc, containernetworking-plugins and busybox-static, into node/.
# - kube-apiserver, kubectl and kubelet are built, once, from the Go module k8s.io/kubernetes at the version pinned
#   below, with the machine's Go toolchain and its usual settings (module proxy, checksum database). A module of our own
#   requires it and pins its staging modules (k8s.io/api ...) at the release that belongs to it; sums are those the
#   module ships.
# - Cache: ${XDG_CACHE_HOME:-~/.cache}/ambient-test/kube-<version>. It takes about 180 MB, 410 MB with a node. The build
#   takes three to ten minutes on two cores, the kubelet one more; it runs niced, and uses 1.5 GB of Go's own caches.
#
# Exit status 77, after saying why, when this machine cannot have them: the tests are skipped with that reason.
set -euo pipefail

version=1.34.4
node_packages=(containerd runc containernetworking-plugins busybox-static)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ambient-test/kube-$version
bin=$cache/bin
programs=(kube-apiserver kubectl)
node=
if [ "${1:-}" = --node ]; then
    node=$cache/node
    programs+=(kubelet)
    shift
fi

skip()
{
    echo "test-kube: $*"
    exit 77
}

built()
{
    local program
    for program in "${programs[@]}"; do
        [ -x "$bin/$program" ] || return 1
    done
}

have()
{
    [ -x "$bin/etcd" ] && [ -z "$node" -o -d "${node:-/}" ] && built
}

# Unpacks packages of Debian's: unpack INTO PACKAGE...
unpack()
{
    local into=$1 work=$cache/deb package
    shift
    command -v apt-get >/dev/null || skip "$* is not in $cache, and this is not a Debian system to get it from"
    rm -rf "$work"
    mkdir -p "$work" "$into"
    # A machine that has just been set up knows no packages yet.
    (cd "$work" && apt-get -q download "$@") >&2 ||
        { apt-get -q update >&2 && (cd "$work" && apt-get -q download "$@") >&2; } ||
        skip "cannot download the packages $*"
    for package in "$work"/*.deb; do
        dpkg-deb -x "$package" "$into"
    done
    rm -rf "$work"
}

get_etcd()
{
    unpack "$cache/etcd" etcd-server
    install -m 755 "$cache/etcd/usr/bin/etcd" "$bin/etcd"
    rm -rf "$cache/etcd"
}

get_node()
{
    rm -rf "$node.new"
    unpack "$node.new" "${node_packages[@]}"
    rm -rf "$node.new/usr/share"
    mv "$node.new" "$node"
}

# The module that requires k8s.io/kubernetes. Its staging modules are "v0.0.0" there, replaced by folders that a module
# zip does not contain; they are released separately, as v0.x.y for v1.x.y.
write_module()
{
    local upstream=$1
    {
        echo "module ambient.test/kube"
        echo
        sed -n 's/^go /go /p' "$upstream/go.mod"
        echo "godebug default=go1.24"
        echo "require k8s.io/kubernetes v$version"
        sed -n 's|^\t\(k8s.io/[a-z-]*\) v0\.0\.0$|\1|p' "$upstream/go.mod" | while read -r staging; do
            echo "replace $staging => $staging v0.${version#*.}"
        done
    } >go.mod
    cp "$upstream/go.sum" go.sum
    chmod u+w go.sum
}

build_kubernetes()
{
    local src=$cache/src upstream
    mkdir -p "$src"
    cd "$src"
    export CGO_ENABLED=0 GOFLAGS="-trimpath -mod=mod -buildvcs=false" GOMAXPROCS=2 GOWORK=off
    upstream=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p') || true
    [ -d "$upstream" ] || skip "the Go module k8s.io/kubernetes v$version cannot be had here"
    write_module "$upstream"
    echo "test-kube: building ${programs[*]} $version (once, some minutes)" >&2
    local stamp="-s -w -X k8s.io/component-base/version.gitVersion=v$version"
    stamp+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"
    local program
    for program in "${programs[@]}"; do
        [ ! -x "$bin/$program" ] || continue
        nice -n 10 go build -p 2 -ldflags "$stamp" -o "$bin/$program.new" "k8s.io/kubernetes/cmd/$program" >&2 ||
            skip "$program $version does not build with $(go version)"
        mv "$bin/$program.new" "$bin/$program"
    done
}

if have; then
    echo "$cache"
    exit 0
fi
if [ "${1:-}" = --check ]; then
    command -v go >/dev/null || skip "not all of ${programs[*]} is in $cache, and there is no Go toolchain to build it"
    skip "not all of etcd ${programs[*]} ${node:+${node_packages[*]} }is in $cache yet: 'make test-kube' makes it"
fi
mkdir -p "$bin"
exec 9>"$cache/lock"
flock 9
[ -x "$bin/etcd" ] || get_etcd
[ -z "$node" ] || [ -d "$node" ] || get_node
built || {
    command -v go >/dev/null || skip "no Go toolchain to build ${programs[*]} with"
    build_kubernetes
}
echo "$cache"
