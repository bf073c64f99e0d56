#!/bin/bash
# What the tests against a real Kubernetes API need: etcd, kube-apiserver and kubectl, in a cache that is kept.
#
#   test-kube-deps.sh            makes what is missing, prints the directory (add bin/ to find the programs)
#   test-kube-deps.sh --check    makes nothing; prints the directory when all is there, else says what is missing
#
# - etcd comes from Debian's package etcd-server. It is unpacked into the cache, not installed: an installed package
#   starts a service of its own.
# - kube-apiserver and kubectl are built, once, from the Go module k8s.io/kubernetes at the version pinned below, with
#   the machine's Go toolchain and its usual settings (module proxy, checksum database). A module of our own requires it
#   and pins its staging modules (k8s.io/api ...) at the release that belongs to it; sums are those the module ships.
# - Cache: ${XDG_CACHE_HOME:-~/.cache}/ambient-test/kube-<version>. It takes about 180 MB. The build takes three to ten
#   minutes on two cores, runs niced, and uses 1.5 GB of Go's own caches.
#
# Exit status 77, after saying why, when this machine cannot have them: the tests are skipped with that reason.
set -euo pipefail

version=1.34.4
etcd_package=etcd-server
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ambient-test/kube-$version
bin=$cache/bin

skip()
{
    echo "test-kube: $*"
    exit 77
}

have()
{
    [ -x "$bin/etcd" ] && [ -x "$bin/kube-apiserver" ] && [ -x "$bin/kubectl" ]
}

# Unpacks etcd from Debian's package.
get_etcd()
{
    command -v apt-get >/dev/null || skip "no etcd in $bin, and this is not a Debian system to get $etcd_package from"
    local work=$cache/deb
    rm -rf "$work"
    mkdir -p "$work"
    # A machine that has just been set up knows no packages yet.
    (cd "$work" && apt-get -q download "$etcd_package") >&2 ||
        { apt-get -q update >&2 && (cd "$work" && apt-get -q download "$etcd_package") >&2; } ||
        skip "cannot download the package $etcd_package"
    dpkg-deb -x "$work"/*.deb "$work/root"
    install -m 755 "$work/root/usr/bin/etcd" "$bin/etcd"
    rm -rf "$work"
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
    echo "test-kube: building kube-apiserver and kubectl $version (once, some minutes)" >&2
    local stamp="-s -w -X k8s.io/component-base/version.gitVersion=v$version"
    stamp+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"
    local program
    for program in kube-apiserver kubectl; do
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
    command -v go >/dev/null || skip "kube-apiserver is not in $cache, and there is no Go toolchain to build it"
    skip "kube-apiserver is not in $cache yet: 'make test-kube' builds it"
fi
mkdir -p "$bin"
exec 9>"$cache/lock"
flock 9
have || {
    [ -x "$bin/etcd" ] || get_etcd
    [ -x "$bin/kube-apiserver" ] && [ -x "$bin/kubectl" ] || {
        command -v go >/dev/null || skip "no Go toolchain to build kube-apiserver with"
        build_kubernetes
    }
}
echo "$cache"
