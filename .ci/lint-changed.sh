#!/usr/bin/env bash
# Lints the Go packages that differ from where the branch began, with the golangci-lint
# at the path given.
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
# Another run, of another clone, is no reason to fail.
exec "$1" run --allow-parallel-runners "${packages[@]}"
