"""Writes the TFLite models and the OpenVINO IRs of testdata, with their makers' own code.

    pip install openvino ai-edge-litert flatbuffers, and from the wheel of mediapipe
    mediapipe/tasks/metadata/metadata_schema_py_generated.py

The models compute next to nothing: what is of interest is what they say of their input.
"""

import pathlib

import flatbuffers
import metadata_schema_py_generated as md
import numpy as np
import openvino as ov
from ai_edge_litert import schema_py_generated as tfl
from openvino import opset13 as op
from openvino.preprocess import ColorFormat, PrePostProcessor, ResizeAlgorithm

HERE = pathlib.Path(__file__).parent / "testdata"


def packed(table, identifier):
    builder = flatbuffers.Builder(0)
    builder.Finish(table.Pack(builder), identifier)
    return bytes(builder.Output())


def metadata(mean, std):
    options = md.NormalizationOptionsT()
    options.mean, options.std = mean, std
    unit = md.ProcessUnitT()
    unit.optionsType, unit.options = md.ProcessUnitOptions.NormalizationOptions, options
    content = md.ContentT()
    content.contentPropertiesType, content.contentProperties = md.ContentProperties.ImageProperties, md.ImagePropertiesT()
    content.contentProperties.colorSpace = md.ColorSpaceType.RGB
    tensor = md.TensorMetadataT()
    tensor.name, tensor.content, tensor.processUnits = "image", content, [unit]
    graph = md.SubGraphMetadataT()
    graph.inputTensorMetadata = [tensor]
    model = md.ModelMetadataT()
    model.name, model.subgraphMetadata = "a model", [graph]
    return packed(model, b"M001")


def tflite(name, side, kind, normalization=None, quantization=None):
    tensor = tfl.TensorT()
    tensor.shape, tensor.type, tensor.name, tensor.buffer = [1, side, side, 3], kind, "image", 0
    if quantization:
        tensor.quantization = tfl.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = quantization
    graph = tfl.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor], [0], [0], []
    model = tfl.ModelT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [tfl.BufferT()], []
    if normalization:
        buffer, entry = tfl.BufferT(), tfl.MetadataT()
        buffer.data = np.frombuffer(metadata(*normalization), np.uint8)
        entry.name, entry.buffer = "TFLITE_METADATA", 1
        model.buffers.append(buffer)
        model.metadata = [entry]
    (HERE / name).write_bytes(packed(model, b"TFL3"))


def reduced(shape=(1, 3, 224, 224)):
    image = op.parameter(list(shape), np.float32, name="image")
    return ov.Model([op.result(op.reduce_mean(image, np.array([2, 3]), False))], [image], "reduced")


def save(model, name):
    ov.serialize(model, str(HERE / name), "/dev/null")


def irs():
    model = reduced()
    steps = PrePostProcessor(model)
    given = steps.input()
    given.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    given.tensor().set_spatial_dynamic_shape()
    given.preprocess().convert_element_type(ov.Type.f32).convert_color(ColorFormat.RGB).resize(ResizeAlgorithm.RESIZE_LINEAR)
    given.preprocess().mean([123.675, 116.28, 103.53]).scale([58.395, 57.12, 57.375])
    given.model().set_layout(ov.Layout("NCHW"))
    save(steps.build(), "embedded.xml")
    model = reduced()
    steps = PrePostProcessor(model)
    steps.input().tensor().set_layout(ov.Layout("NCHW"))
    steps.input().preprocess().mean(127.5).scale(127.5).reverse_channels()
    steps.input().model().set_layout(ov.Layout("NCHW"))
    save(steps.build(), "normalizing.xml")
    model = reduced((1, 3, 480, 640))
    for key, value in {"mean_values": "123.675 116.28 103.53", "scale_values": "58.395 57.12 57.375", "pad_value": "114",
                       "resize_type": "fit_to_window_letterbox", "reverse_input_channels": "True", "model_type": "ssd"}.items():
        model.set_rt_info(value, ["model_info", key])
    save(model, "model-api.xml")
    save(reduced((1, 1, 32, 32)), "plain.xml")


tflite("mobilenet.tflite", 224, tfl.TensorType.FLOAT32, ([127.5], [127.5]))
tflite("efficientnet-int8.tflite", 224, tfl.TensorType.INT8, ([127.0] * 3, [128.0] * 3), ([0.012566016986966133], [-1]))
tflite("detector-uint8.tflite", 320, tfl.TensorType.UINT8, ([127.5], [127.5]), ([0.0078125], [127]))
tflite("bare.tflite", 96, tfl.TensorType.INT8, None, ([1 / 255], [-128]))
irs()
