#!/usr/bin/env bash
# Builds all fuzz targets for libFuzzer, in OSS-Fuzz's or ClusterFuzzLite's image for Go
# (gcr.io/oss-fuzz-base/base-builder-go), whose programs it calls. Their build.sh needs no
# more than a call of this script.
#
# The targets are found, so that none is forgotten. Their programs are named after the
# package and the function.
set -euo pipefail
cd "$(dirname "$0")/.."
module=$(sed -n 's/^module //p' go.mod)

# The image's programs build with no other tag than gofuzz. Without its own tag, gocv
# compiles only with a newer OpenCV than Debian 12's.
opencv=
if pkg-config --exists 'opencv4 >= 4.11'; then
	opencv=yes
	CXXFLAGS="${CXXFLAGS-} -Wl,--no-as-needed $(pkg-config --libs opencv4) -ljpeg"
	export CXXFLAGS
fi

grep -rHoE --include='*_test.go' '^func Fuzz\w+\(' -- */ | sort | while IFS=: read -r file func; do
	package=$(dirname "$file") function=${func#func }
	function=${function%'('}
	if [[ $package == transform/opencv && -z $opencv ]]; then
		echo "$package $function is left out: it needs OpenCV 4.11 or later with its headers" >&2
		continue
	fi
	compile_native_go_fuzzer_v2 "$module/$package" "$function" "${package//\//_}_$function"
done
