#!/usr/bin/env bash
# Lints the Go packages that have changed since the branch began, with the given
# golangci-lint.
#
#   .ci/lint-changed.sh .cache/bin/golangci-lint
set -euo pipefail
cd "$(dirname "$0")/.."

base=$(git merge-base HEAD origin/HEAD 2>/dev/null || git merge-base HEAD origin/main 2>/dev/null || git rev-parse HEAD)
mapfile -t packages < <(
	{
		git diff --name-only --diff-filter=d "$base" -- '*.go'
		git ls-files --others --exclude-standard -- '*.go'
	} | xargs -r dirname | sort -u | sed 's|^|./|'
)
[[ ${#packages[@]} -gt 0 ]] || exit 0
# Without the flag, it would fail while another clone is being linted.
exec "$1" run --allow-parallel-runners "${packages[@]}"
