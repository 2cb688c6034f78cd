#!/usr/bin/env bash
# Looks for known vulnerabilities: with govulncheck in the Go code that is reached, and with
# osv-scanner, if it is installed, in the bills of materials that "make release" has left
# in dist, which name the C libraries too.
#
#   .ci/vuln.sh TAGS
#
# GOVULNDB is the URL of the database of Go's vulnerabilities, also one with file://. If it
# cannot be had, this says so and is done, unless VULN_REQUIRED is set.
set -euo pipefail
cd "$(dirname "$0")/.."
govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.9.0
database=${GOVULNDB:-https://vuln.go.dev}

result=0
skip() {
	echo "SKIPPED: $1" >&2
	[[ -z ${VULN_REQUIRED-} ]] || result=1
}

if curl --fail --silent --show-error --location --max-time 60 --output /dev/null "$database/index/db.json"; then
	go run "$govulncheck" -db "$database" -tags "$1" ./... || result=1
else
	skip "govulncheck has not run, because $database is not there. Set GOVULNDB to a copy of the database."
fi

shopt -s nullglob
bills=(dist/*.cdx.json)
if ! command -v osv-scanner >/dev/null; then
	echo "SKIPPED: the C libraries were not looked up, because osv-scanner is not installed." >&2
elif [[ ${#bills[@]} -eq 0 ]]; then
	echo "SKIPPED: the C libraries were not looked up, because dist has no bill of materials: run make release." >&2
else
	status=0
	osv-scanner scan "${bills[@]/#/--lockfile=}" || status=$?
	case $status in
	127) skip "osv-scanner has found out nothing; above it says why." ;; # such as no network
	*) [[ $status -eq 0 ]] || result=1 ;;
	esac
fi
exit "$result"
