#!/bin/bash
# The platform as a root file system in a tarball: our programs, the shared libraries that they load, certificates, time
# zones, a user. No shell, no package manager. rootfs.sh BUILD OUT.tar [program ...]; all programs when none is named.
set -euo pipefail
build=$1 out=$2
shift 2
programs=("$@")
[ ${#programs[@]} -gt 0 ] || programs=(ambient-api-server ambient-control-plane ambient-runner acpctl)

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"
mkdir -p "$root"/{etc/ssl/certs,tmp,usr/bin,usr/share,var/lib/ambient,workspace}
for program in "${programs[@]}"; do
    strip --strip-unneeded -o "$root/usr/bin/$program" "$(readlink -f "$build/bin/$program")"
    chmod 0755 "$root/usr/bin/$program"
done
# What the loader would load, where it would look for it.
libcurl=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p | awk '$1 == "libcurl.so.4" && !n++ {print $NF}')
{
    for program in "${programs[@]}"; do
        ldd "$(readlink -f "$build/bin/$program")"
    done
    # acpctl loads it when it makes its first client (src/http/lazy-curl.c).
    printf 'libcurl.so.4 => %s\n' "$libcurl"
    ldd "$libcurl"
} | awk '$2 == "=>" && $3 ~ /^\// {print $3} $1 ~ /^\// {print $1}' | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L --preserve=mode "$library" "$root$library"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
[ ! -d /usr/share/zoneinfo ] || tar -C /usr/share -c --exclude=right --exclude=posix zoneinfo | tar -C "$root/usr/share" -x
printf 'root:x:0:0:root:/:/nologin\nambient:x:10001:10001:ambient:/var/lib/ambient:/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nambient:x:10001:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"
# The same tree gives the same bytes.
tar -C "$root" -c --sort=name --numeric-owner --owner=0 --group=0 --mtime='2000-01-01 00:00:00Z' \
    --transform='s,^\./,,' . >"$out.part"
mv "$out.part" "$out"
echo "$out: $(du -h "$out" | cut -f1), compressed $(gzip -c "$out" | wc -c | awk '{printf "%.1f MB", $1 / 1e6}')"
