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
opencv=${2:?the directory of OpenCV}
output=${3:?the program to write}
version=${4:?the version of the program}

# Go's own resolver looks up names. libc's would need its plugins as files on the system.
tags=gocv_specific_modules,netgo,osusergo
# Go's build id is left out, because it depends on the paths in the flags.
.ci/cross.sh "$arch" "$opencv" go build -trimpath -buildvcs=false -tags "$tags" \
	-ldflags "-s -w -buildid= -X github.com/cvfeeder/cvfeeder/internal/feeder.linked=$version -linkmode external -extldflags -static" \
	-o "$output" ./cmd/cvfeeder
if readelf --wide --program-headers --dynamic "$output" | grep -E 'INTERP|NEEDED' >&2; then
	echo "$0: $output is not linked statically" >&2
	exit 1
fi
if grep -aqE 'libpng version|(in|de)flate 1[.]' "$output"; then
	echo "$0: libpng or zlib is linked into $output: .ci/linked.sh leaves them out" >&2
	exit 1
fi
