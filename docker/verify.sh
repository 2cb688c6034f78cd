#!/usr/bin/env bash
# Builds the image for both processors and runs it, on a machine without a container engine
# or an image registry: on top of docker/standin.sh, and in namespaces, with a read-only root
# file system and as the image's own user. What needs no build of it is tested by
# internal/deploytest.
#
#   docker/verify.sh VERSION
#
# Needs root, buildah and debootstrap, and takes up to an hour the first time, most of it for
# OpenCV. Its results stay in $WORK, by default .cache/image-test. PLATFORMS=linux/amd64
# builds for one processor. The program for another one is run where qemu-user is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?the version}
work=${WORK-.cache/image-test}
mkdir -p "$work"
work=$(realpath "$work")

export CONTAINERS_STORAGE_CONF=$work/storage.conf STORAGE_DRIVER=${STORAGE_DRIVER-overlay}
export BUILDAH_ISOLATION=chroot BUILDER=buildah
printf '[storage]\ndriver = "%s"\ngraphroot = "%s"\nrunroot = "%s"\n' \
	"$STORAGE_DRIVER" "$work/storage" "$work/run" >"$CONTAINERS_STORAGE_CONF"

base=localhost/cvfeeder-golang:bookworm
buildah inspect --type image "$base" >/dev/null 2>&1 || docker/standin.sh "$base"
revision=$(git rev-parse HEAD)
platforms=${PLATFORMS-linux/amd64,linux/arm64}
build() { docker/build.sh "$1" "$version" --pull-never --build-arg "GO_IMAGE=$base" --build-arg SNAPSHOT= "${@:2}"; }
# An index is added to, not replaced.
! buildah manifest exists localhost/cvfeeder:test 2>/dev/null || buildah manifest rm localhost/cvfeeder:test
build cvfeeder:test --platform "$platforms"
build cvfeeder:debug --target debug

fail() {
	echo "$0: $1" >&2
	exit 1
}

containers=()
trap 'buildah rm "${containers[@]}" >/dev/null' EXIT
# open sets root to the root file system of an image.
open() {
	container=$(buildah from --pull-never "$@")
	containers+=("$container")
	root=$(buildah mount "$container")
}

# Each processor's image has that processor's program, and its bill of materials.
for platform in ${platforms//,/ }; do
	open --platform "$platform" localhost/cvfeeder:test
	machine=$(readelf -h "$root/usr/local/bin/cvfeeder" | sed -n 's/ *Machine: *//p')
	echo "$platform: $machine, $(($(du -sb "$root" | cut -f1) / 1000000)) MB"
	case $platform,$machine in
	linux/amd64,*X86-64*) ;;
	linux/arm64,AArch64)
		! command -v qemu-aarch64 >/dev/null || qemu-aarch64 "$root/usr/local/bin/cvfeeder" version
		;;
	*) fail "the image for $platform has a program for $machine" ;;
	esac
	grep -q "pkg:deb/debian/libc6-dev@.*arch=${platform#*/}" "$root/usr/share/doc/cvfeeder/cvfeeder.cdx.json" ||
		fail "the bill of materials for $platform does not name its libc"
done

open localhost/cvfeeder:debug
chroot --userspec=65532:65532 --groups= "$root" /busybox/sh -c 'PATH=/usr/local/bin:/busybox; ls / && wget -h 2>&1 | head -1 && cvfeeder version'

open localhost/cvfeeder:test

mebibytes=$(($(du -sb "$root" | cut -f1) / 1000000))
echo "size: $mebibytes MB"
[[ $mebibytes -lt 80 ]] || fail "the image has 80 MB or more"
for program in sh bash busybox apt apk dpkg; do
	[[ -z $(find "$root" -name "$program" -type f) ]] || fail "the image has a $program"
done
[[ $(find "$root" -type f -perm /111 | wc -l) -eq 1 ]] || fail "the image has other programs than cvfeeder"
buildah inspect "$container" >"$work/inspected"
grep -q '"Healthcheck"' "$work/inspected" || fail "the image has no HEALTHCHECK"
grep -q "\"org.opencontainers.image.revision\": \"$revision\"" "$work/inspected" || fail "the image does not name its commit"

# The image's program, run as the image's user. It is not a function, so that signals
# reach the program itself.
feeder=(env HOME=/var/lib/cvfeeder chroot --userspec=65532:65532 --groups= "$root" /usr/local/bin/cvfeeder)

# inside runs a function of this script in new namespaces, in which the image's root file
# system is read-only except for /tmp.
inside() {
	root=$root unshare --mount --pid --fork --kill-child --net bash -euo pipefail -c "
		$(declare -f fail "$1")
		$(declare -p feeder)
		ip link set lo up
		mount --bind \"\$root\" \"\$root\"
		mount -t tmpfs -o size=16m,mode=1777 tmpfs \"\$root/tmp\"
		mount -o remount,bind,ro \"\$root\"
		$1" "$0"
}

works() {
	if touch "$root/etc/x" 2>/dev/null; then fail "the root file system can be written to"; fi
	"${feeder[@]}" version
	"${feeder[@]}" demo --for 20s &
	demo=$!
	for _ in {1..100}; do
		! "${feeder[@]}" health >/dev/null 2>&1 || break
		sleep 0.1
	done
	"${feeder[@]}" health
	wait "$demo"
}

# The time from the start of the program to its first tensor at a subscriber, with
# pictures that exist already. Each attempt to subscribe starts the program as well.
coldstart() {
	export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
	"${feeder[@]}" fake --streams 1 >/dev/null &
	cat >"$root/tmp/cvfeeder.yaml" <<-END
		aws: {region: us-east-1, endpoint: "http://127.0.0.1:9178"}
		nats: {url: embedded}
		http: {listen: ""}
		streams: [{name: cam-1, outputs: [detector], from: "$(date -u -d "-1 minute" +%FT%TZ)"}]
		outputs: {detector: {preset: yolo}}
	END
	sleep 2
	for _ in 1 2 3; do
		start=$(date +%s%N)
		"${feeder[@]}" run -c /tmp/cvfeeder.yaml 2>/dev/null &
		run=$!
		until "${feeder[@]}" tap --count 1 >/dev/null 2>&1; do kill -0 "$run" || fail "cvfeeder has ended"; done
		echo "cold start to the first tensor at a subscriber: $((($(date +%s%N) - start) / 1000000)) ms"
		kill "$run"
		wait "$run" || true
	done
}

inside works
inside coldstart
echo "The image works."
