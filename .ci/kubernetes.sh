#!/usr/bin/env bash
# Builds a Kubernetes from its Go modules, as .ci/kubernetes/go.mod pins them, for
# "make k8s-test": the API server with etcd, what makes pods and places them, and kubectl.
#
#   .ci/kubernetes.sh version
#   .ci/kubernetes.sh build DIRECTORY
set -euo pipefail
module=$(dirname "$0")/kubernetes
version=$(sed -n 's/^\tk8s\.io\/kubernetes \(v[0-9.]*\).*/\1/p' "$module/go.mod")
# Definitions of the kinds that the manifests have besides Kubernetes' own.
definitions=(
	github.com/prometheus-operator/prometheus-operator@v0.85.0/example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml
	github.com/prometheus-operator/prometheus-operator@v0.85.0/example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml
	github.com/kedacore/keda/v2@v2.21.0/config/crd/bases/keda.sh_scaledobjects.yaml
)

case ${1-} in
version) echo "$version" ;;
build)
	mkdir -p "$2/crds"
	into=$(cd "$2" && pwd)
	cd "$module"
	# Who asks the server for its version expects that of a release.
	package=k8s.io/component-base/version
	IFS=. read -r major minor _ <<<"${version#v}"
	go build -ldflags "-s -w -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor" -o "$into/" tool
	mv "$into/server" "$into/etcd" # which has the name of its package
	for definition in "${definitions[@]}"; do
		rest=${definition#*@}
		source=$(cd / && go mod download -json "${definition%%@*}@${rest%%/*}" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
		install -m 644 "$source/${rest#*/}" "$into/crds/"
	done
	;;
*)
	sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
