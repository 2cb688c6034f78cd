#!/usr/bin/env bash
# Tests cvfeeder for arm64, on a processor of another kind by qemu's emulation of one
# program at a time. What is tested is linked statically, as releases and the image are:
#
#   .ci/arm64.sh [PACKAGE…]    default: transform, source, publish, fused, demo
#
# "fused" looks at the instructions, and "demo" runs the demo.
#
# OpenCV and the arm64 libraries are kept in .cache/arm64. The first run builds OpenCV and
# takes a quarter of an hour more.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/.cache/arm64
packages=("$@")
[[ ${#packages[@]} -gt 0 ]] || packages=(fused ./transform/... ./source/... ./publish/... demo)

run=()
if [[ $(uname -m) != aarch64 ]]; then
	run=(qemu-aarch64)
	# A processor of today's servers, without the newest vectors that qemu has.
	export QEMU_CPU=${QEMU_CPU-neoverse-n1}
	export SYSROOT=$work/sysroot
	[[ $SYSROOT/packages -nt .ci/sysroot.sh ]] || .ci/sysroot.sh "$SYSROOT" arm64
fi
opencv=$work/opencv
[[ $opencv/lib/pkgconfig/opencv4.pc -nt .ci/opencv.sh ]] || .ci/opencv.sh "$opencv" arm64

cross() { .ci/cross.sh arm64 "$opencv" "$@"; }
flags=(-tags "gocv_specific_modules,netgo,osusergo" -ldflags "-linkmode external -extldflags -static")

# What makes the pixels must not multiply and add with a single rounding. internal/depcheck
# looks at the Go packages without C.
fused() {
	local program=$work/opencv.test
	cross go build "${flags[@]:0:2}" -gcflags=-S ./transform/opencv 2>&1 |
		awk '/\tRET\t/ { returns++ } /\tFN?M(ADD|SUB)[SD]\t/ { print "a single rounding in " $0; found = 1 }
			END { if (!returns) { print "no instructions were found"; found = 1 } exit found }' >&2
	cross go test -c "${flags[@]:0:4}" -o "$program" ./transform/opencv
	aarch64-linux-gnu-objdump -d --no-show-raw-insn "$program" |
		awk '/^[0-9a-f]+ <.*>:$/ { name = $2; ours = name ~ /^<cvf_/; functions += ours }
			ours && $2 ~ /^fn?m(add|sub|la|ls)$/ { print "a single rounding in " name " " $0; found = 1 }
			END { if (functions < 10) { print "only " functions " C functions were found"; found = 1 } exit found }' >&2
	rm "$program"
}

demo() {
	local program=$work/cvfeeder
	.ci/static.sh arm64 "$opencv" "$program" "$(git describe --always 2>/dev/null || echo dev)"
	"${run[@]}" "$program" version
	"${run[@]}" "$program" demo --for 30s --streams 1
}

# What would take long under emulation, and what starts its own program once more, which the
# kernel refuses.
[[ ${#run[@]} -eq 0 ]] || flags+=(-skip '^(TestRowsOfBrokenPictures|TestLargePicturesAreMeasured|TestProxy)$')

for package in "${packages[@]}"; do
	case $package in
	fused | demo) "$package" ;;
	# One package at a time: emulation is slow, and what waits for a deadline would miss it.
	*) cross go test -p 1 -short -timeout 60m "${flags[@]}" ${run:+-exec "${run[*]}"} "$package" ;;
	esac
done
echo "cvfeeder works on arm64."
