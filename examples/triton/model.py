# ruff: noqa: ANN001, ANN201, ANN202 - the types exist in Triton only
"""Runs model.onnx, which lies beside it, in Triton's Python backend.

For a Triton without the ONNX Runtime backend, such as the one in the package nvidia-pytriton:
put it beside model.onnx, and write `backend: "python"` in config.pbtxt.
"""

from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb


class TritonPythonModel:
    """A model of one session, as Triton loads it."""

    def initialize(self, args):
        """Load the model."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        directory = Path(args["model_repository"]) / args["model_version"]
        self._session = onnxruntime.InferenceSession(str(directory / "model.onnx"), options)
        self._outputs = [o.name for o in self._session.get_outputs()]

    def execute(self, requests):
        """Answer each request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        images = np.from_dlpack(pb.get_input_tensor_by_name(request, "images"))
        outputs = self._session.run(self._outputs, {"images": images})
        tensors = [
            pb.Tensor.from_dlpack(name, value)
            for name, value in zip(self._outputs, outputs, strict=True)
        ]
        return pb.InferenceResponse(tensors)
