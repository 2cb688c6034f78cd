#!/usr/bin/env bash
# Counts the instructions of every kernel of transform/opencv on amd64 and on arm64, which
# says more of arm64 than a time under emulation:
#
#   .ci/count.sh [KERNEL…]    default: all
#
# It prints a table of the instructions for one call. AVX2 has vectors of twice NEON's
# width, so what NEON's count is compared with is twice AVX2's. Where that is exceeded by
# more than 15%, the line says so, and the exit code is 1.
#
# Both programs run in qemu, one instruction at a time, which logs each; a kernel's are the
# difference of three calls and one.
set -euo pipefail
cd "$(dirname "$0")/../transform/opencv"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() {
	"$1" -std=c11 -O3 -ffp-contract=off -static -I. -o "$2" testdata/count/count.c kernels.c resize_*.c decode_[acn]*.c -lm
}
build gcc "$work/amd64"
build aarch64-linux-gnu-gcc "$work/arm64"

# Prints how many instructions a call takes: count ARCH TABLE KERNEL.
count() {
	local run=(qemu-aarch64 -cpu neoverse-n1) total=()
	[[ $1 == arm64 ]] || run=(qemu-x86_64 -cpu max)
	for calls in 1 3; do
		total+=("$("${run[@]}" -singlestep -d exec,nochain "$work/$1" "$2" "$3" "$calls" 2>&1 | wc -l)")
	done
	echo $(((total[1] - total[0]) / 2))
}

kernels=("$@")
[[ ${#kernels[@]} -gt 0 ]] || mapfile -t kernels < <("$work/amd64")
echo "| kernel | amd64, C | AVX2 | arm64, C | NEON | NEON / (2 × AVX2) | |"
echo "|---|---:|---:|---:|---:|---:|---|"
over=0
for kernel in "${kernels[@]}"; do
	c=$(count amd64 c "$kernel") avx2=$(count amd64 avx2 "$kernel")
	arm=$(count arm64 c "$kernel") neon=$(count arm64 neon "$kernel")
	ratio=$((100 * neon / (2 * avx2))) note=
	if ((ratio > 115)); then over=1 note="over"; fi
	printf '| %s | %d | %d | %d | %d | %d.%02d | %s |\n' "$kernel" "$c" "$avx2" "$arm" "$neon" $((ratio / 100)) $((ratio % 100)) "$note"
done
exit "$over"
