"""A stand-in for SGLang: its HTTP surface over a timing model, with failures on request.

It is what local worker hosts run where many workers are wanted.
`docs/reference/stub-engine.md` says what is simulated, and `tests/contract/engine` holds its
answers against recorded ones of SGLang 0.5.23.
"""

#: The SGLang version whose answers are shaped.
SGLANG_VERSION = "0.5.23"
