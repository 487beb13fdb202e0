"""From a Hugging Face checkpoint to a model folder that the server and the page can use.

recipes     what is built for each device, and why
source      the checkpoint, looked at before any work begins
shapes      the shapes of real models, for random weights; `checkpoint` and `vocabulary` fill them
formats     how conversations with the model are written
builder     ONNX Runtime GenAI's model builder, in a process of its own
passes      changes to a graph; `weights` writes it, in files of a bounded size
canary      what a finished graph answers
folder      tokenizer, configuration and manifest
run         all of it: a checkpoint in, a folder out
"""
