#!/usr/bin/env bash
# Makes the two videos of the examples in a directory that has their Python packages:
#
#   .ci/footage.sh DIRECTORY
#
# portrait.avi is a photograph of Eileen Collins, which NASA has put into the public domain and
# scikit-image ships, and which moves up and down. street.avi is a street with people in it, one
# of OpenCV's samples (Apache-2.0), from Debian's package opencv-doc.
set -euo pipefail
cd "${1:?the directory}"

packages=$(venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
ffmpeg -v error -y -loop 1 -i "$packages/skimage/data/astronaut.png" -t 8 -r 10 \
	-vf "crop=512:288:0:'30*(1-cos(2*PI*t/8))',scale=1280:720" -pix_fmt yuv420p -c:v mpeg4 -q:v 3 portrait.avi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
(
	cd "$scratch"
	apt-get download -q -o APT::Sandbox::User=root opencv-doc || { apt-get update -q && apt-get download -q -o APT::Sandbox::User=root opencv-doc; }
)
dpkg-deb --fsys-tarfile "$scratch"/opencv-doc_*.deb |
	tar -xO ./usr/share/doc/opencv-doc/examples/data/vtest.avi >street.avi
