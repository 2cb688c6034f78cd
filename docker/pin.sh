#!/usr/bin/env bash
# Pins the images that these files name to the digests that their tags have now. It needs
# the registry:
#
#   docker/pin.sh [FILE…]    default: every file of the repository that names an image
#
# $CRANE is the program that asks the registry, by default crane, which Go downloads.
set -euo pipefail
cd "$(dirname "$0")/.."
crane=${CRANE-go run github.com/google/go-containerregistry/cmd/crane@v0.22.1}
pattern='docker\.io/[a-z0-9./_-]+:[A-Za-z0-9._-]+'
files=("$@")
[[ ${#files[@]} -gt 0 ]] || mapfile -t files < <(grep -rlE "$pattern" docker .github --include=Dockerfile --include='*.y*ml')

grep -hoE "$pattern" "${files[@]}" | sort -u | while read -r image; do
	digest=$($crane digest "$image")
	[[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || {
		echo "$0: the registry's answer for $image is no digest: $digest" >&2
		exit 1
	}
	sed -E -i "s#${image//./\\.}(@sha256:[0-9a-f]{64})?([[:space:]]|\$)#$image@$digest\2#" "${files[@]}"
	echo "$image@$digest"
done
