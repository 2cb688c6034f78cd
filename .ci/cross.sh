#!/usr/bin/env bash
# Runs a command of Go so that it builds for one processor, linked statically, with the
# OpenCV that .ci/opencv.sh has built for it:
#
#   .ci/cross.sh amd64|arm64 OPENCV COMMAND…
#
# The same sources and compilers make the same bytes, wherever they are built. SYSROOT is
# the directory with that processor's libraries (see .ci/sysroot.sh); without it they are
# those of the system.
set -euo pipefail

arch=${1:?amd64 or arm64}
opencv=$(realpath "${2:?the directory of OpenCV}")
shift 2
case $arch in
amd64) gnu=x86_64-linux-gnu ;;
arm64) gnu=aarch64-linux-gnu ;;
*)
	echo "$0: $arch: the processor must be amd64 or arm64" >&2
	exit 2
	;;
esac
root=${SYSROOT:+$(realpath "$SYSROOT")}

# Fused multiplications and additions would round differently on one processor than on
# another, and so would make other pixels.
flags="-O2 -g0 -ffp-contract=off -ffile-prefix-map=$opencv=/opencv"
libraries="-O2 -L$opencv/lib"
if [[ -n $root ]]; then
	flags+=" --sysroot=$root"
	# The cross compiler would take its own libc, which gets no security updates.
	libraries+=" --sysroot=$root -B$root/usr/lib/$gnu -L$root/usr/lib/$gnu"
fi
export CGO_ENABLED=1 GOOS=linux GOARCH=$arch CC=$gnu-gcc CXX=$gnu-g++
export GOAMD64=v1 GOARM64=v8.0
export PKG_CONFIG_LIBDIR=$opencv/lib/pkgconfig:$root/usr/lib/$gnu/pkgconfig:/usr/share/pkgconfig PKG_CONFIG_PATH=
export CGO_CFLAGS=$flags CGO_CXXFLAGS=$flags CGO_LDFLAGS=$libraries
exec "$@"
