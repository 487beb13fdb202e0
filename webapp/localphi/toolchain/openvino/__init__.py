"""The same model for OpenVINO: a model folder's ONNX graph, node by node, as an OpenVINO IR beside it.

    convert.py   what happens to the folder: files, manifest
    graph.py     ONNX nodes to OpenVINO operations
    weights.py   initializers; 4 and 8 bit weights stay as they are

Nothing is quantized anew and PyTorch is not needed, so the two runtimes compute with equal weights.
"""
