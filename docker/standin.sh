#!/usr/bin/env bash
# Makes a stand-in for the official Go image, for machines that can reach Debian's
# packages but no image registry:
#
#   docker/standin.sh NAME
#
# It is a Debian 12 made by debootstrap, with gcc, git and make as in the official image,
# and this machine's Go toolchain and certificate authorities. Needs root, buildah and
# debootstrap. STORAGE_DRIVER and CONTAINERS_STORAGE_CONF say where the image is stored.
set -euo pipefail
name=${1:?the name of the image to make}

for program in buildah debootstrap go; do
	command -v "$program" >/dev/null || {
		echo "$0: $program is missing. On Debian 12: apt-get install buildah debootstrap" >&2
		exit 1
	}
done
[[ $(id -u) -eq 0 ]] || {
	echo "$0: debootstrap needs root" >&2
	exit 1
}

container=$(buildah from scratch)
trap 'buildah rm "$container" >/dev/null' EXIT
root=$(buildah mount "$container")
debootstrap --variant=minbase --include=ca-certificates,g++,gcc,git,libc6-dev,make,pkg-config bookworm "$root"
for suite in bookworm-updates bookworm-security; do
	area=debian
	[[ $suite != *-security ]] || area=debian-security
	echo "deb http://deb.debian.org/$area $suite main" >>"$root/etc/apt/sources.list"
done
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp -a "$(go env GOROOT)" "$root/usr/local/go"
rm -rf "$root"/var/cache/apt/archives/*.deb
buildah config --env PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	--env GOPATH=/go --env GOTOOLCHAIN=local --workingdir /go "$container"
buildah commit -q "$container" "$name"
echo "$name stands in for the official image"
