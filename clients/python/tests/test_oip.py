"""The requests, compared with the protocol's text and with NVIDIA's own client."""

from __future__ import annotations

import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc, http
from tritonclient.grpc import service_pb2

import cvfeeder
from support import HEADERS, PAYLOAD
from test_parse import tensor

CASES = {
    "float32": {},
    "float16": {"Dtype": "FP16", "Shape": "1,3,4,4"},
    "uint8": {"Dtype": "UINT8", "Shape": "1,4,8,3", "Layout": "NHWC"},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("outputs", [(), ("boxes", "scores")])
@pytest.mark.parametrize("request_id", ["", "front-door/1"])
def test_the_body_is_that_of_tritonclient(
    case: str, outputs: tuple[str, ...], request_id: str
) -> None:
    t = tensor(**CASES[case])
    infer_input = http.InferInput("images", list(t.shape), t.datatype)
    infer_input.set_data_from_numpy(t.array)
    requested = [http.InferRequestedOutput(name, binary_data=True) for name in outputs]
    want, header = http.InferenceServerClient.generate_request_body(
        [infer_input], outputs=requested or None, request_id=request_id
    )
    request = t.to_oip("yolo", "images", outputs=outputs, request_id=request_id)
    assert request.body() == want
    assert request.headers["Inference-Header-Content-Length"] == str(header)


@pytest.mark.parametrize("case", CASES)
def test_the_grpc_message_is_that_of_tritonclient(case: str) -> None:
    t = tensor(**CASES[case])
    infer_input = grpc.InferInput("images", list(t.shape), t.datatype)
    infer_input.set_data_from_numpy(t.array)
    fields = t.to_oip("yolo", "images", outputs=["boxes"], model_version="3", request_id="7").grpc()
    got = service_pb2.ModelInferRequest(**fields)
    want = service_pb2.ModelInferRequest(model_name="yolo", model_version="3", id="7")
    want.inputs.append(infer_input._get_tensor())  # noqa: SLF001 - it has no other way
    want.outputs.append(grpc.InferRequestedOutput("boxes")._get_tensor())  # noqa: SLF001
    want.raw_input_contents.append(infer_input._get_content())  # noqa: SLF001
    assert got == want


def test_the_payload_is_not_copied() -> None:
    headers = dict(HEADERS)
    item = cvfeeder.parse("s", headers, PAYLOAD)
    assert isinstance(item, cvfeeder.Tensor)
    request = item.to_oip("yolo", "images")
    assert request.buffers[1].obj is PAYLOAD
    assert request.grpc()["raw_input_contents"][0] is PAYLOAD


def test_names_are_quoted_in_the_path() -> None:
    assert tensor().to_oip("a/b c", "x").path == "/v2/models/a%2Fb%20c/infer"
    assert tensor().to_oip("m", "x", model_version="2").path == "/v2/models/m/versions/2/infer"


class _Server(BaseHTTPRequestHandler):
    """Reads inference requests as the binary tensor data extension says, and echoes a sum."""

    dtypes = {"FP32": "<f4", "FP16": "<f2", "UINT8": "u1"}  # noqa: RUF012

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/octet-stream"
        assert self.path == "/v2/models/yolo/infer"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        split = int(self.headers["Inference-Header-Content-Length"])
        request: dict[str, Any] = json.loads(body[:split])
        binary, (entry,) = body[split:], request["inputs"]
        assert "data" not in entry
        size = entry["parameters"]["binary_data_size"]
        assert size == len(binary)
        array = np.frombuffer(binary[:size], self.dtypes[entry["datatype"]])
        array = array.reshape(entry["shape"])
        reply = {"model_name": "yolo", "echo": entry, "sum": float(array.sum(dtype="f8"))}
        reply["binary"] = request["parameters"]["binary_data_output"]
        text = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("case", CASES)
def test_a_server_reads_the_request_by_the_specification(case: str) -> None:
    t = tensor(**CASES[case])
    request = t.to_oip("yolo", "images")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}{request.path}"
        call = urllib.request.Request(url, map(bytes, request.buffers), request.headers)
        with urllib.request.urlopen(call, timeout=10) as answer:  # noqa: S310
            reply = json.load(answer)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert reply["echo"]["name"] == "images"
    assert tuple(reply["echo"]["shape"]) == t.shape
    assert reply["sum"] == float(t.array.sum(dtype="f8"))
    assert reply["binary"]
