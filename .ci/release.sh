#!/usr/bin/env bash
# Makes the files of a release: for each processor an archive with the statically linked
# program, its manual pages and completions, and a bill of materials; and the provenance,
# checksums and signature of all files, see .ci/seal.sh.
#
#   .ci/release.sh VERSION DIRECTORY
#
# If the compiler or the libraries for a processor are missing, it leaves that processor
# out and says what to install. The same commit and compilers make the same bytes. OpenCV
# is built once for each processor, into .cache/release, which also has the libraries for
# another processor than this machine's.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?the version}
out=${2:?the directory to write to}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
mkdir -p "$out"
out=$(realpath "$out")
distribution=$(sed -n 's/^ID=//p' /etc/os-release)-$(sed -n 's/^VERSION_ID="\(.*\)"/\1/p' /etc/os-release)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ready succeeds if a processor's compiler and libraries are there. Otherwise it says what to
# install. It sets SYSROOT for .ci/cross.sh.
ready() {
	export SYSROOT=
	local compiler=g++ libraries="libjpeg62-turbo-dev libpng-dev libwebp-dev"
	if [[ $arch != "$(go env GOHOSTARCH)" ]]; then
		compiler=g++-${gnu/_/-} libraries=
		SYSROOT=$PWD/.cache/release/sysroot-$arch
	fi
	if ! command -v "$gnu-g++" >/dev/null || [[ -n $libraries ]] && ! pkg-config --exists libjpeg libpng libwebp zlib; then
		cat >&2 <<-END
			$arch is left out: its compiler or libraries are missing. On Debian 12:
			  apt-get install --no-install-recommends cmake dpkg-dev $compiler $libraries
		END
		return 1
	fi
	[[ -z $SYSROOT ]] || .ci/sysroot.sh "$SYSROOT" "$arch" # anew, with what Debian has fixed since
}

# extras writes the files beside the program, which are the same for all processors.
extras() {
	mkdir -p "$1/completions" "$1/man/man1"
	cp LICENSE CHANGELOG.md README.md docker/cvfeeder.yaml "$1/"
	cp "$opencv/LICENSE" "$1/LICENSE.opencv"
	for package in libjpeg62-turbo-dev libwebp-dev; do
		cp "$SYSROOT/usr/share/doc/$package/copyright" "$1/copyright.$package"
	done
	"$native" completion bash >"$1/completions/cvfeeder.bash"
	"$native" completion zsh >"$1/completions/_cvfeeder"
	"$native" completion fish >"$1/completions/cvfeeder.fish"
	"$native" man "$1/man/man1"
}

native=$work/cvfeeder
files=()
for arch in "$(go env GOHOSTARCH)" amd64 arm64; do
	case $arch in
	amd64) gnu=x86_64-linux-gnu ;;
	arm64) gnu=aarch64-linux-gnu ;;
	*) continue ;;
	esac
	name=cvfeeder-$version-linux-$arch
	[[ ! -e $work/$name ]] || continue # this machine's own processor is done already
	if ! ready; then
		[[ -e $native ]] || exit 1 # without a program that runs here there are no manual pages
		continue
	fi
	opencv=$PWD/.cache/release/opencv-$arch
	[[ $opencv/lib/pkgconfig/opencv4.pc -nt .ci/opencv.sh ]] || .ci/opencv.sh "$opencv" "$arch"
	mkdir "$work/$name"
	.ci/static.sh "$arch" "$opencv" "$work/$name/cvfeeder" "$version"
	[[ -e $native ]] || cp "$work/$name/cvfeeder" "$native"
	extras "$work/$name"
	.ci/linked.sh "$arch" "$opencv" >"$work/linked"
	go run ./internal/sbom "$work/$name/cvfeeder" "$version" "$distribution" <"$work/linked" >"$out/$name.cdx.json"
	tar -C "$work" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
		-cf - "$name" | gzip -9n >"$out/$name.tar.gz"
	files+=("$name.tar.gz" "$name.cdx.json")
done
[[ ${#files[@]} -gt 0 ]] || exit 1
.ci/seal.sh "$version" "$out" "${files[@]}"
