#!/usr/bin/env bash
# Builds OpenCV's core, imgproc and imgcodecs (JPEG and PNG) from Debian's source
# package as static libraries, with a pkg-config file that cgo can use:
#
#   .ci/opencv.sh DIRECTORY [amd64|arm64]
#
# It installs nothing, and keeps its package lists and sources apart from the system's. It
# takes some minutes. For another processor than this machine's it needs Debian's cross
# compiler, and libjpeg and libpng for that processor: in the directory SYSROOT (see
# .ci/sysroot.sh), or installed. The same sources and compiler make the same libraries,
# wherever they are built.
set -euo pipefail
mkdir -p "${1:?the directory to build into}"
prefix=$(realpath "$1")
work=$prefix/work
root=${SYSROOT:+$(realpath "$SYSROOT")}
case ${2-$(uname -m)} in
amd64 | x86_64) processor=x86_64 ;;
arm64 | aarch64) processor=aarch64 ;;
*) processor=$(uname -m) ;; # with OpenCV's own choices
esac

command -v apt-get >/dev/null || {
	echo "This system has no apt-get, which is needed to download Debian's source package of OpenCV." >&2
	echo "You can still build with the OpenCV that \"pkg-config opencv4\" finds." >&2
	exit 1
}

rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
cd "$work"

# Sources come from the same places as this system's packages, which apt lists in two
# formats.
shopt -s nullglob
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
	[[ ! -f $list ]] || sed -n 's/^deb /deb-src /p' "$list" >>"$work/sources.list"
done
mkdir -p "$work/sources.list.d"
for list in /etc/apt/sources.list.d/*.sources; do
	sed 's/^Types:.*/Types: deb-src/' "$list" >"$work/sources.list.d/${list##*/}"
done
touch "$work/sources.list"

apt() {
	apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/sources.list.d" \
		-o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@"
}
apt update
apt source opencv
sources=(opencv-*/)

# SSE4.2 is the baseline, which x86-64 processors have had since 2009. AVX2 is chosen at
# run time.
options=(-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF "-DBUILD_LIST=core,imgproc,imgcodecs"
	"-DCMAKE_INSTALL_PREFIX=$prefix" -DCMAKE_INSTALL_LIBDIR=lib
	-DWITH_JPEG=ON -DWITH_PNG=ON -DBUILD_JPEG=OFF -DBUILD_PNG=OFF -DBUILD_ZLIB=OFF
	-DOPENCV_GENERATE_PKGCONFIG=OFF -DBUILD_opencv_apps=OFF
	-DBUILD_TESTS=OFF -DBUILD_PERF_TESTS=OFF -DBUILD_EXAMPLES=OFF -DBUILD_DOCS=OFF -DBUILD_JAVA=OFF
	-DBUILD_opencv_python3=OFF -DWITH_IMGCODEC_HDR=OFF -DWITH_IMGCODEC_SUNRASTER=OFF
	-DWITH_IMGCODEC_PXM=OFF -DWITH_IMGCODEC_PFM=OFF)
# The libraries must not depend on the time or the place of the build.
options+=(-DBUILD_INFO_SKIP_TIMESTAMP=ON -DBUILD_INFO_SKIP_SYSTEM_VERSION=ON)
# Nor may the pixels depend on the processor: some multiply and add with one rounding where
# others round twice, so the compiler must not join the two.
flags="-ffile-prefix-map=$work=. -ffp-contract=off"
if [[ -n $root ]]; then
	flags+=" --sysroot=$root"
	options+=("-DCMAKE_FIND_ROOT_PATH=$root")
fi
export CFLAGS=$flags CXXFLAGS=$flags
if [[ $processor != "$(uname -m)" ]]; then
	options+=(-DCMAKE_SYSTEM_NAME=Linux "-DCMAKE_SYSTEM_PROCESSOR=$processor"
		"-DCMAKE_C_COMPILER=$processor-linux-gnu-gcc" "-DCMAKE_CXX_COMPILER=$processor-linux-gnu-g++")
fi
[[ $processor != x86_64 ]] || options+=(-DCPU_BASELINE=SSE4_2 "-DCPU_DISPATCH=AVX;AVX2")
for feature in 1394 ADE CAROTENE DIRECTX EIGEN FFMPEG GDAL GDCM GSTREAMER GTK IPP ITT JASPER LAPACK OPENCL \
	OPENEXR OPENGL OPENJPEG PROTOBUF QT QUIRC TBB TIFF V4L VA VTK VULKAN WEBP; do
	options+=("-DWITH_$feature=OFF")
done
cmake -S "${sources[0]}" -B build "${options[@]}"
cmake --build build --parallel "$(nproc)"
cmake --install build

# cgo calls pkg-config without --static, so all libraries are named here.
version=$(sed -n 's/^#define CV_VERSION_\(MAJOR\|MINOR\|REVISION\) *\([0-9]*\).*/\2/p' \
	"$prefix/include/opencv4/opencv2/core/version.hpp" | paste -sd .)
mkdir -p "$prefix/lib/pkgconfig"
cat >"$work/opencv4.pc" <<END
Name: OpenCV
Description: OpenCV's core, imgproc and imgcodecs, static
Version: $version
Cflags: -I\${pcfiledir}/../../include/opencv4
Libs: -L\${pcfiledir}/.. -lopencv_imgcodecs -lopencv_imgproc -lopencv_core -ljpeg -lpng -lz -lstdc++ -lpthread -ldl -lm
END
dpkg-parsechangelog -l "${sources[0]}debian/changelog" -S Version >"$prefix/debian-version"
# Last, because this file shows that the build is complete.
mv "$work/opencv4.pc" "$prefix/lib/pkgconfig/opencv4.pc"
cp "${sources[0]}LICENSE" "$prefix/LICENSE"
rm -rf "$work"
echo "OpenCV $version is in $prefix"
