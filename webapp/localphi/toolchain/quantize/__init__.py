"""From a floating-point model folder to a quantized one, with numpy, onnx and onnxruntime; no PyTorch.

grid         how numbers become codes: scales, zero points, the layout of MatMulNBits
rounding     choosing scales and zero points: round to nearest, and searched
halfquadratic  scales and zero points for most weights, not for the outliers (HQQ)
floatgraph   the graph of a floating-point model: its layers, and their weights one at a time
folds        where a scale can move from one operator into the one before it
calibration  text, and what the layers see while the model reads it
awq          the scales that make rounding hurt least
sensitivity  which layers need 8 bits
recipe       everything that is asked for, checked
layers       quantizes layer by layer; remembers what is done
run          a folder in, a folder out
folder       writes the new model folder, whole or not at all
report       the methods compared on the demo model
"""

from typing import Literal

Method = Literal["rtn", "hqq", "kquant", "awq"]
METHODS: tuple[Method, ...] = ("rtn", "hqq", "kquant", "awq")
