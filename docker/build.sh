#!/usr/bin/env bash
# Builds the container image with docker, podman or buildah, the first of them that
# works here, or with the one that $BUILDER names:
#
#   docker/build.sh IMAGE VERSION [OPTION…]
#
# OPTION is passed to the builder, such as --platform linux/arm64 or --target debug. With
# --platform linux/amd64,linux/arm64, IMAGE is an index of both.
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:?the name of the image}
version=${2:?the version of the program}
shift 2

name=--tag

works() { command -v "$1" && "$1" info; } >/dev/null 2>&1

for builder in ${BUILDER-docker podman buildah} ""; do
	[[ -z $builder ]] || ! works "$builder" || break
done
# The OCI image format has no HEALTHCHECK, hence --format docker below.
case $builder in
docker)
	build=(docker build)
	export DOCKER_BUILDKIT=1 # for BUILDPLATFORM, where it is not the default yet
	;;
podman | buildah)
	case $(uname -m) in
	aarch64) own=arm64 ;;
	*) own=amd64 ;;
	esac
	# Some versions do not set BUILDPLATFORM.
	build=("$builder" build --format docker --layers --build-arg "BUILDPLATFORM=linux/$own")
	[[ ! "$*" =~ --platform[=\ ][^\ ]*, ]] || name=--manifest # they tag only an image
	;;
*)
	cat >&2 <<-'END'
		Building the image needs docker (with its daemon running), podman or buildah,
		and none of them works here: "docker info", "podman info" and "buildah info"
		say why. On Debian 12: apt-get install buildah
	END
	exit 1
	;;
esac

revision=$(git rev-parse HEAD 2>/dev/null || true)
epoch=$(git log -1 --format=%ct 2>/dev/null || true)
created=$(TZ=UTC git log -1 --format=%cd --date=format-local:%FT%TZ 2>/dev/null || true)
echo "Building $image ($version) with ${build[0]}"
exec "${build[@]}" --file docker/Dockerfile --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
	--build-arg "CREATED=$created" --build-arg "SOURCE_DATE_EPOCH=$epoch" "$name" "$image" "$@" .
