"""Answers from a model: one worker process per loaded model, and a client that feels like an iterator.

Knows tokens, ONNX Runtime GenAI and processes; never Flask, JSON or HTTP.
"""
