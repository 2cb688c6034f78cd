#!/usr/bin/env bash
# Runs one of the Python examples against a demo of its own:
#
#   examples/run.sh detect|alert|search|notebook|triton [OPTIONS OF THE EXAMPLE]
#
# "make example NAME=detect" does the same, and installs what it needs first. The demo takes
# free ports, so it is in nobody's way. What the example draws is in .cache/examples/out.
set -euo pipefail
cd "$(dirname "$0")"

name=${1:?the name of the example}
shift
files=$(realpath "${CVFEEDER_EXAMPLES:-../.cache/examples}")
program=${CVFEEDER_PROGRAM:-../bin/cvfeeder}
python=$files/venv/bin/python
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
export PYTHONPATH=$PWD/../clients/python/src PYTHONDONTWRITEBYTECODE=1
out=${CVFEEDER_OUT:-$files/out/$name}
mkdir -p "$out"
scratch=$(mktemp -d)
started=()
end() {
	[[ ${#started[@]} -eq 0 ]] || kill -INT "${started[@]}" 2>/dev/null || true
	wait
	rm -rf "$scratch"
}
trap end EXIT

# Waits until a command succeeds, for a minute at most.
await() {
	for _ in {1..600}; do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.1
	done
	echo "not within a minute: $*" >&2
	cat "$scratch"/*.log >&2
	exit 1
}

# Starts a Triton with the model, and sets its address. The package nvidia-pytriton has a whole
# Triton, but of its backends only the one for Python.
triton() {
	local triton=$packages/pytriton/tritonserver version models=$scratch/models backend=$scratch/backends/python
	version=$("$python" -c 'import sys; print("{}.{}".format(*sys.version_info))')
	mkdir -p "$backend"
	cp -r triton/models "$models"
	mkdir "$models/centerface/1"
	"$python" python/centerface.py "$models/centerface/1/model.onnx"
	cp triton/model.py "$models/centerface/1"
	sed -i 's/"onnxruntime"/"python"/' "$models/centerface/config.pbtxt"
	cp "$triton"/backends/python/*.* "$triton/python_backend_stubs/$version/triton_python_backend_stub" "$backend"
	read -r http grpc < <("$python" -c '
import socket
free = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in free))')
	LD_LIBRARY_PATH=$packages/nvidia_pytriton.libs PYTHONPATH=$packages PATH=$files/venv/bin:$PATH \
		"$triton/bin/tritonserver" --model-repository "$models" --backend-directory "$scratch/backends" \
		--http-address 127.0.0.1 --http-port "$http" --grpc-address 127.0.0.1 --grpc-port "$grpc" \
		--allow-metrics false >"$scratch/triton.log" 2>&1 &
	started+=($!)
	await "$python" -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$http/v2/health/ready')"
	address=127.0.0.1:$grpc
}

video=$files/portrait.avi
if [[ $name == alert || $name == search ]]; then video=$files/street.avi; fi
"$program" demo --nats 127.0.0.1:0 --http "" --streams 1 --video "${CVFEEDER_VIDEO:-$video}" >"$scratch/demo.log" 2>&1 &
started+=($!)
await grep -q 'nats://' "$scratch/demo.log"
nats=$(grep -o 'nats://[0-9.:]*' "$scratch/demo.log" | head -1)

case $name in
detect) "$python" python/detect.py --nats "$nats" --output "$out" "$@" ;;
alert)
	[[ $# -gt 0 ]] || set -- --alerts 1
	"$python" python/alert.py --nats "$nats" --output "$out" "$@"
	;;
search)
	[[ $# -gt 0 ]] || set -- cam-1 --last 5 --every 7.5
	"$python" python/search.py --nats "$nats" --output "$out" "$@"
	;;
notebook) CVFEEDER_NATS=$nats "$files/venv/bin/jupyter-execute" --timeout=120 --output="$out/tensors.ipynb" python/tensors.ipynb "$@" ;;
triton)
	triton
	"$python" python/triton.py --triton "$address" --nats "$nats" --output "$out" "$@"
	;;
*)
	echo "unknown example: $name" >&2
	exit 2
	;;
esac
echo "see $out"
