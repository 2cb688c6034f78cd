#!/usr/bin/env bash
# Writes what proves that files of a release are what they say: their provenance, their
# checksums, and a signature of the checksums where there is a key:
#
#   .ci/seal.sh VERSION DIRECTORY FILE…    FILE is in DIRECTORY
#
# MINISIGN_KEY is the file of a secret key of minisign, without a password. COSIGN_KEY is
# any key that cosign knows, such as a file or a KMS's URI. BUILDER_ID is the URI of who
# runs the build, for the provenance.
set -euo pipefail
top=$(realpath "$(dirname "$0")/..")
version=${1:?the version} out=${2:?the directory}
shift 2
files=("$@")
builder=${BUILDER_ID-https://github.com/cvfeeder/cvfeeder/blob/main/.ci/release.sh}

provenance=cvfeeder-$version.intoto.json
rm -f "$out/$provenance" "$out"/SHA256SUMS*
if [[ -n $(git -C "$top" status --porcelain) ]]; then
	echo "There is no provenance, because the work tree has changes that no commit names." >&2
else
	(cd "$top" && go run ./internal/provenance "$version" "$(git rev-parse HEAD)" "$builder" "${files[@]/#/$out/}") >"$out/$provenance"
	files+=("$provenance")
fi

cd "$out"
sha256sum "${files[@]}" >SHA256SUMS
sha256sum --check --strict --quiet SHA256SUMS
if [[ -n ${MINISIGN_KEY-} ]]; then
	minisign -S -s "$MINISIGN_KEY" -m SHA256SUMS -t "cvfeeder $version" </dev/null
fi
if [[ -n ${COSIGN_KEY-} ]]; then
	cosign sign-blob --yes --key "$COSIGN_KEY" --bundle SHA256SUMS.sigstore.json SHA256SUMS
fi
[[ -n ${MINISIGN_KEY-}${COSIGN_KEY-} ]] || echo "SHA256SUMS is not signed: set MINISIGN_KEY or COSIGN_KEY" >&2
cat SHA256SUMS
