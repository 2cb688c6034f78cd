#!/usr/bin/env bash
# Lays out Debian's packages for another processor in a directory: by default the libraries
# that are linked into cvfeeder, for a cross compiler.
#
#   .ci/sysroot.sh DIRECTORY ARCHITECTURE [PACKAGE…]
#
# What the packages depend on is left out. It installs nothing, and neither apt
# nor dpkg of this system learns of the other processor: apt's lists and its cache are kept
# in the directory. DIRECTORY/packages has two lines for each package: its name, version
# and architecture, and those of its source.
set -euo pipefail
root=${1:?the directory} arch=${2:?the architecture}
shift 2
packages=("$@")
[[ ${#packages[@]} -gt 0 ]] || packages=(libc6-dev libjpeg62-turbo-dev libpng-dev libwebp-dev zlib1g-dev)
rm -rf "$root"
mkdir -p "$root"
root=$(realpath "$root")
work=$root/work
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/sources.list.d"

# The packages come from the same places as this system's.
touch "$work/sources.list" "$work/status"
[[ ! -e /etc/apt/sources.list ]] || cp /etc/apt/sources.list "$work/"
cp -r /etc/apt/sources.list.d/. "$work/sources.list.d/"

cd "$work"
apt() {
	apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/sources.list.d" \
		-o Dir::State::Lists="$work/lists" -o Dir::State::Status="$work/status" -o Dir::Cache="$work/cache" \
		-o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User=root "$@"
}
apt update
apt download "${packages[@]}"
for package in *.deb; do
	dpkg-deb -x "$package" "$root"
	# shellcheck disable=SC2016 # the names are dpkg-deb's
	dpkg-deb --showformat '${Package} ${Version} ${Architecture}\n${source:Package} ${source:Version} source\n' -W "$package" >>"$work/packages"
done
# Last, because this file shows that all is there.
mv "$work/packages" "$root/packages"
rm -rf "$work"
