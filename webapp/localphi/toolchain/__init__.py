"""The way a model gets here: build, quantize, describe. Heavy libraries are imported inside functions."""
