"""Requests of the Open Inference Protocol (KServe v2), as Triton and KServe take them.

The REST form uses the binary tensor data extension: a JSON header, then the
tensor's bytes as they are.
https://github.com/kserve/open-inference-protocol
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .tensor import Tensor
    from .triton import SharedMemory


@dataclass(frozen=True, slots=True)
class InferRequest:
    """An inference request with one input, whose payload is the tensor's memory.

    If region is set, the payload is not sent: Triton reads it there, so keep the request until the
    answer has come.
    """

    model_name: str
    model_version: str
    id: str
    input: dict[str, Any]  # name, shape, datatype
    outputs: tuple[str, ...]
    payload: memoryview | bytes
    region: dict[str, Any] | None = None  # see `triton.SharedMemory`

    @property
    def path(self) -> str:
        """The path of the URL to POST to: ``/v2/models/<model>/infer``."""
        version = f"/versions/{quote(self.model_version, safe='')}" if self.model_version else ""
        return f"/v2/models/{quote(self.model_name, safe='')}{version}/infer"

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers, with both lengths in bytes."""
        header = len(self._json())
        return {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(header),
            "Content-Length": str(header + (0 if self.region else len(self.payload))),
        }

    @property
    def buffers(self) -> list[memoryview]:
        """The pieces of the body, in order: the JSON, then the payload itself."""
        head = memoryview(self._json())
        return [head] if self.region else [head, memoryview(self.payload)]

    def body(self) -> bytes:
        """Return the body in one piece. This copies the payload."""
        return b"".join(self.buffers)

    def grpc(self) -> dict[str, Any]:
        """Return the fields of the gRPC message: ``ModelInferRequest(**request.grpc())``.

        The payload is the one element of ``raw_input_contents``, as bytes: protobuf takes
        nothing else.
        """
        kinds = {str: "string_param", int: "int64_param"}
        region = {name: {kinds[type(v)]: v} for name, v in (self.region or {}).items()}
        return {
            "model_name": self.model_name,
            "model_version": self.model_version,
            "id": self.id,
            "inputs": [self.input | ({"parameters": region} if region else {})],
            "outputs": [{"name": name} for name in self.outputs],
            "raw_input_contents": [] if region else [bytes(self.payload)],
        }

    def _json(self) -> bytes:
        request: dict[str, Any] = {"id": self.id} if self.id else {}
        where = self.region or {"binary_data_size": len(self.payload)}
        request["inputs"] = [self.input | {"parameters": where}]
        if self.outputs:
            binary = {"binary_data": True}
            request["outputs"] = [{"name": name, "parameters": binary} for name in self.outputs]
        else:
            request["parameters"] = {"binary_data_output": True}
        return json.dumps(request, separators=(",", ":")).encode()


def infer_request(
    tensor: Tensor,
    model_name: str,
    input_name: str,
    *,
    outputs: Sequence[str] = (),
    model_version: str = "",
    request_id: str = "",
    shared: SharedMemory | None = None,
) -> InferRequest:
    """Return the request with tensor as its only input; see `Tensor.to_oip`."""
    return InferRequest(
        model_name=model_name,
        model_version=model_version,
        id=request_id,
        input={"name": input_name, "shape": list(tensor.shape), "datatype": tensor.datatype},
        outputs=tuple(outputs),
        payload=tensor.memory,
        region=shared.region(tensor.memory) if shared is not None else None,
    )
