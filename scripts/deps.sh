#!/bin/bash
# Installs the Debian packages that a task needs: deps.sh [build|test|bench]. Does nothing, without network, when all
# are there. docs/dependencies.md says what each is for.
set -euo pipefail

build=(gcc make meson ninja-build pkg-config ccache libevent-dev libnghttp2-dev libcurl4-openssl-dev libprotobuf-c-dev
    protobuf-c-compiler protobuf-compiler libjansson-dev libfyaml-dev libsqlite3-dev libpq-dev libcjose-dev libssl-dev
    zlib1g-dev tzdata)
test=(libcmocka-dev clang clang-format-14 libclang-rt-14-dev python3 python3-grpcio python3-protobuf python3-hpack
    git python3-pytest python3-pytest-timeout python3-pytest-xdist python3-cryptography python3-jwt python3-yaml
    postgresql curl openssl procps iproute2 mandoc man-db)
bench=(postgresql redis-server redis-tools nginx-light nghttp2-client wrk)
# What acpctl kustomize is compared with; another package's kubectl does as well, and would be in the way.
command -v kubectl >/dev/null || test+=(kubernetes-client)

task=${1:-build}
case $task in
    build) packages=("${build[@]}") ;;
    test) packages=("${build[@]}" "${test[@]}") ;;
    bench) packages=("${build[@]}" "${bench[@]}" python3 python3-grpcio python3-protobuf) ;;
    *) echo "usage: $0 [build|test|bench]" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian system. What 'make $task' needs is called, on Debian 12:" >&2
    echo "  ${packages[*]}" >&2
    exit 0 # the build says itself what it does not find
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null | sed -n 's/^installed //p' || true)
missing=()
for package in "${packages[@]}"; do
    grep -qx -- "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: these packages are missing, and there is neither root nor sudo to install them:" >&2
        echo "  apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
"${apt[@]}" update
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
    # The tests start servers of their own; Debian's package would also make one and start it.
    "${apt[@]}" install -y --no-install-recommends postgresql-common
    "${as_root[@]}" sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' \
        /etc/postgresql-common/createcluster.conf
fi
"${apt[@]}" install -y --no-install-recommends "${missing[@]}"
