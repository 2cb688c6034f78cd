#!/usr/bin/env bash
# Builds the container image with the first of docker, podman and buildah that
# works here:
#
#   docker/build.sh IMAGE VERSION
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:?the name of the image}
version=${2:?the version of the program}

works() { command -v "$1" && "$1" info; } >/dev/null 2>&1

if works docker; then
	build=(docker build)
elif works podman; then
	build=(podman build)
elif works buildah; then
	build=(buildah build)
else
	cat >&2 <<-'END'
		Building the image needs docker (with its daemon running), podman or buildah,
		and none of them works here: "docker info", "podman info" and "buildah info"
		say why. On Debian 12: apt-get install buildah
	END
	exit 1
fi

echo "Building $image ($version) with ${build[0]}"
exec "${build[@]}" --file docker/Dockerfile --build-arg "VERSION=$version" --tag "$image" .
