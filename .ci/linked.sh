#!/usr/bin/env bash
# Prints the Debian packages that are linked into cvfeeder for one processor, and their
# sources, of which Debian counts the vulnerabilities: package, version, architecture.
# internal/sbom reads them.
#
#   .ci/linked.sh amd64|arm64 OPENCV
#
# OPENCV is the directory that .ci/opencv.sh built into. SYSROOT is as in .ci/cross.sh.
set -euo pipefail
case ${1:?amd64 or arm64} in
amd64) gcc=x86_64-linux-gnu-gcc ;;
arm64) gcc=aarch64-linux-gnu-gcc ;;
*) exit 2 ;;
esac
opencv=${2:?the directory of OpenCV}

# libpng and zlib are there for OpenCV's imgcodecs, which only the tests link.
libraries=(stdc++ gcc)
if [[ -n ${SYSROOT-} ]]; then grep -Ev '^(libpng|zlib)' "$SYSROOT/packages"; else libraries+=(jpeg webp c); fi
for library in "${libraries[@]}"; do
	package=$(dpkg-query -S "$(realpath "$("$gcc" -print-file-name="lib$library.a")")")
	# shellcheck disable=SC2016 # the names are dpkg-query's
	dpkg-query -W -f '${Package} ${Version} ${Architecture}\n${source:Package} ${source:Version} source\n' "${package%: *}"
done
echo "opencv $(<"$opencv/debian-version") source"
