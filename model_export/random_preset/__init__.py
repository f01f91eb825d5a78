"""A preset of any size to graphs with random weights: what it takes to export, check, run and build it.

    python -m model_export random --config v2_7b --out DIR --report model_export/reports/v2_7b

Weights of LLaMA-2-7B, EVA-ViT-G and Whisper-large-v3 cannot be had everywhere; their sizes can. Everything
is written in half precision, the language model also with 4-bit weights, for TensorRT (standard operators)
and for ONNX Runtime. Weights of the language model are drawn and written matrix by matrix. Each step is a
process of its own, so that its memory can be told; a step that would need more than it may have is killed,
and the report says so.
"""
