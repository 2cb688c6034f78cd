#!/usr/bin/env bash
# Builds and tests cvfeeder on another Debian than this machine's: in a chroot made by
# debootstrap, with this machine's Go, and with nothing else but what "make build" installs
# there:
#
#   .ci/hosts.sh SUITE…    such as trixie, which is Debian 13
#
# Needs root. The systems are kept in .cache/hosts. MIRROR is where Debian's packages are
# from.
# shellcheck disable=SC2016 # other shells expand what is in single quotes
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
mirror=${MIRROR-http://deb.debian.org/debian}
[[ $(id -u) -eq 0 ]] || {
	echo "$0: debootstrap and chroot need root" >&2
	exit 1
}

# inside runs commands in the system, in new namespaces, so that mounts and processes end
# with them.
inside() {
	root=$root goroot=$(go env GOROOT) modules=$(go env GOMODCACHE) unshare --mount --pid --fork --kill-child "${@:2}" \
		bash -euo pipefail -c '
		mount --rbind /dev "$root/dev"
		mount -t proc proc "$root/proc"
		mount --bind "$goroot" "$root/usr/local/go"
		mkdir -p "$modules"
		mount --bind "$modules" "$root/go/pkg/mod"
		ip link set lo up
		exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 TERM=dumb GOPATH=/go GOTOOLCHAIN=local \
			PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -euo pipefail -c "cd /src; $0"' "$1"
}

# It goes the way of the README: make build, the demo, the tests, and go install of what git
# has, as if it were published.
build='make build
go mod download
GOPROXY=file:///proxy GOSUMDB=off GOBIN=/usr/local/bin \
	go install github.com/cvfeeder/cvfeeder/cmd/cvfeeder@latest
/usr/local/bin/cvfeeder version'
tests='. /etc/os-release
echo "$PRETTY_NAME: OpenCV $(pkg-config --modversion opencv4), $(g++ --version | head -1)"
bin/cvfeeder version
bin/cvfeeder demo --for 20s --streams 2
go test -short -timeout 30m -tags gocv_specific_modules ./transform/... ./source/... ./publish/... ./internal/feeder/...'

# publish makes a module proxy of a directory, which has this module at its last commit.
publish() {
	local at=$1/github.com/cvfeeder/cvfeeder version
	version=$(TZ=UTC git log -1 --abbrev=12 --date=format-local:%Y%m%d%H%M%S --format=v0.0.0-%cd-%h)
	rm -rf "$1"
	mkdir -p "$at/@v"
	git archive --format=zip --prefix="github.com/cvfeeder/cvfeeder@$version/" -o "$at/@v/$version.zip" HEAD \
		':!internal/deploytest/testdata/podmonitor' # another module
	git show HEAD:go.mod >"$at/@v/$version.mod"
	printf '{"Version":"%s","Time":"%s"}' "$version" "$(TZ=UTC git log -1 --date=format-local:%FT%TZ --format=%cd)" |
		tee "$at/@v/$version.info" >"$at/@latest"
	touch "$at/@v/list" # of versions with a tag
}

for suite in "$@"; do
	root=$top/.cache/hosts/$suite
	# The directory is there only if debootstrap came to its end.
	if [[ ! -d $root ]]; then
		rm -rf "$root.part"
		debootstrap --variant=minbase --include=ca-certificates,git,make "$suite" "$root.part" "$mirror"
		mv "$root.part" "$root"
	fi
	mkdir -p "$root/usr/local/go" "$root/go/pkg/mod"
	cp /etc/resolv.conf /etc/hosts "$root/etc/"
	cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" # with those of a proxy, if there is one
	rm -rf "$root/src"
	mkdir "$root/src"
	# What git knows of, as it is now.
	git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh |
		tar -c --null -T - | tar -x -C "$root/src"
	publish "$root/proxy"
	inside "$build"
	inside "$tests" --net
done
