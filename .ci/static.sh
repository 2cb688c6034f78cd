#!/usr/bin/env bash
# Builds cvfeeder for one processor, linked statically: the program needs no other file of
# the system that it runs on, not even libc.
#
#   .ci/static.sh amd64|arm64 OPENCV OUTPUT VERSION
#
# OPENCV is the directory that .ci/opencv.sh built into for that processor. The same
# sources, compilers and version make the same bytes, wherever they are built.
set -euo pipefail
cd "$(dirname "$0")/.."

arch=${1:?amd64 or arm64}
opencv=$(realpath "${2:?the directory of OpenCV}")
output=${3:?the program to write}
version=${4:?the version of the program}
case $arch in
amd64) gnu=x86_64-linux-gnu ;;
arm64) gnu=aarch64-linux-gnu ;;
*)
	echo "$0: $arch: the processor must be amd64 or arm64" >&2
	exit 2
	;;
esac

# Go's own resolver looks up names. libc's would need its plugins as files on the system.
tags=gocv_specific_modules,netgo,osusergo
prefixes="-ffile-prefix-map=$opencv=/opencv"
export CGO_ENABLED=1 GOOS=linux GOARCH=$arch CC=$gnu-gcc CXX=$gnu-g++
export GOAMD64=v1 GOARM64=v8.0
export PKG_CONFIG_LIBDIR=$opencv/lib/pkgconfig:/usr/lib/$gnu/pkgconfig:/usr/share/pkgconfig PKG_CONFIG_PATH=
export CGO_CFLAGS="-O2 -g0 $prefixes" CGO_CXXFLAGS="-O2 -g0 $prefixes" CGO_LDFLAGS="-O2 -L$opencv/lib"
# Go's build id is left out, because it depends on the paths in the flags.
exec go build -trimpath -buildvcs=false -tags "$tags" \
	-ldflags "-s -w -buildid= -X github.com/cvfeeder/cvfeeder/internal/feeder.linked=$version -linkmode external -extldflags -static" \
	-o "$output" ./cmd/cvfeeder
