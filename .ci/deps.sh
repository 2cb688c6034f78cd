#!/usr/bin/env bash
# Installs the missing ones of the Debian packages that a make target needs:
#
#   .ci/deps.sh build | test | lint | opencv | arm64 | hosts
#
# It says what it installs before it does so, and prints nothing if nothing is missing. It
# uses sudo unless it runs as root. Without apt-get it says what to install by hand.
set -euo pipefail

# Checks that a need works, not that a package is installed, so that OpenCV may also be
# built by hand or come from another distribution.
works() {
	case $1 in
	opencv) pkg-config --exists 'opencv4 >= 4.6' ;;
	libjpeg) pkg-config --exists libjpeg ;;
	libpng) pkg-config --exists libpng ;;
	libwebp) pkg-config --exists libwebp ;;
	libnats) pkg-config --exists libnats ;;
	venv) python3 -c 'import ensurepip, venv' ;;
	prometheus) command -v prometheus && command -v promtool ;;
	alertmanager) command -v amtool && { command -v prometheus-alertmanager || command -v alertmanager; } ;;
	*) command -v "$1" ;;
	esac >/dev/null 2>&1
}

# Prints the Debian package that meets a need.
package() {
	case $1 in
	opencv) echo libopencv-dev ;;
	libjpeg) echo libjpeg-dev ;; # of whatever libjpeg-turbo the distribution has
	libpng) echo libpng-dev ;;
	libwebp) echo libwebp-dev ;;
	libnats) echo libnats-dev ;;
	dpkg-source) echo dpkg-dev ;;
	venv) echo python3-venv ;;
	djpeg) echo libjpeg-turbo-progs ;;
	ip) echo iproute2 ;;
	alertmanager) echo prometheus-alertmanager ;;
	aarch64-linux-gnu-g++) echo g++-aarch64-linux-gnu ;;
	qemu-aarch64) echo qemu-user ;;
	*) echo "$1" ;;
	esac
}

needs=(make g++ pkg-config opencv libjpeg libwebp)
case ${1-} in
build) ;;
test) needs+=(ffmpeg chromium venv prometheus alertmanager djpeg minisign libnats ip curl) ;;
lint) needs+=(shellcheck) ;;
opencv) needs=(make g++ pkg-config cmake dpkg-source libjpeg libpng) ;;
arm64)
	needs=(make pkg-config cmake dpkg-source aarch64-linux-gnu-g++)
	if [[ $(uname -m) == aarch64 ]]; then needs+=(libjpeg libpng); else needs+=(qemu-aarch64); fi
	;;
hosts) needs=(debootstrap ip) ;;
*)
	echo "usage: $0 build|test|lint|opencv|arm64|hosts" >&2
	exit 2
	;;
esac

missing=()
for need in "${needs[@]}"; do
	works "$need" || missing+=("$need")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

packages=()
for need in "${missing[@]}"; do
	packages+=("$(package "$need")")
done

# Describes a need for people whose system has no Debian packages.
explain() {
	case $1 in
	opencv) echo "opencv: OpenCV 4.6 or later with its headers, found by pkg-config opencv4" ;;
	libjpeg) echo "libjpeg: libjpeg-turbo's headers, found by pkg-config libjpeg" ;;
	libpng) echo "libpng: with its headers, found by pkg-config libpng" ;;
	libnats) echo "libnats: NATS's library for C with its headers, found by pkg-config libnats" ;;
	venv) echo "venv: Python 3 with its modules venv and ensurepip" ;;
	minisign) echo "minisign: the program that signs releases" ;;
	djpeg) echo "djpeg: the program djpeg of libjpeg-turbo" ;;
	ip) echo "ip: the program ip of iproute2" ;;
	aarch64-linux-gnu-g++) echo "aarch64-linux-gnu-g++: a C++ compiler for arm64" ;;
	qemu-aarch64) echo "qemu-aarch64: qemu's emulation of an arm64 program" ;;
	prometheus) echo "prometheus: the programs prometheus and promtool" ;;
	alertmanager) echo "alertmanager: the programs alertmanager and amtool" ;;
	*) echo "$1" ;;
	esac
}

by_hand() {
	{
		echo "$1"
		echo "Install by hand, then run make again:"
		for need in "${missing[@]}"; do
			echo "  $(explain "$need")"
		done
		echo "On Debian 12: apt-get install --no-install-recommends ${packages[*]}"
	} >&2
	exit 1
}

command -v apt-get >/dev/null || by_hand "This system has no apt-get, so nothing was installed."

as_root=()
if [[ $(id -u) -ne 0 ]]; then
	command -v sudo >/dev/null || by_hand "Installing packages needs root, and there is no sudo."
	as_root=(sudo)
	[[ -t 0 ]] || as_root=(sudo -n) # nobody can type a password
fi

apt() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get -y -q -o DPkg::Lock::Timeout=600 "$@" </dev/null
}

# DPkg::Lock::Timeout does not cover the lock of the package lists.
update() {
	for _ in 1 2 3 4 5; do
		if apt update; then return; fi
		echo "apt-get update failed; trying again in 10 s"
		sleep 10
	done
	by_hand "The package lists could not be updated."
}

install() { apt install --no-install-recommends "${packages[@]}"; }

echo "Installing with apt-get: ${packages[*]}"
apt-get install --simulate --no-install-recommends "${packages[@]}" >/dev/null 2>&1 || update
if ! install; then
	echo "The package lists may be old; updating them"
	update
	install || by_hand "apt-get could not install ${packages[*]}."
fi

for need in "${missing[@]}"; do
	works "$need" || by_hand "$(package "$need") is installed, but $need still does not work."
done

# The tests run their own, but Debian's packages also start them as services.
for service in prometheus:9090 alertmanager:9093; do
	if [[ " ${missing[*]} " == *" ${service%:*} "* && -d /run/systemd/system ]]; then
		unit=$(package "${service%:*}")
		echo "$unit now runs on port ${service#*:}; the tests do not need it: systemctl disable --now $unit"
	fi
done
