"""Requests whose prompts differ from the first word on, made at the cost of one slice."""

from __future__ import annotations

import functools
import random

from benchmarks.router.worker import MODEL

KEY = "bench-key"
_TEXT_BYTES = 1 << 20
_SENTENCE = """the of to and in is it you that he was for on are with as his they be at one have
this from or had by hot but some what there we can out other were all your when up use word how
said an each she which do their time if will way about many then them would write like so these
her long make thing see him two has look more day could go come did my sound no most number who"""
_WORDS = _SENTENCE.split()


@functools.cache
def _text() -> bytes:
    """Words with an escaped line end every twelve, as real prompts have: a router that reads
    JSON strings must unescape them.
    """
    draw = random.Random(1)  # noqa: S311 - repeatable, not secret
    words = (draw.choice(_WORDS) for _ in range(_TEXT_BYTES // 4))
    return " ".join(w if i % 12 else w + "\\n" for i, w in enumerate(words)).encode()


class Prompts:
    """Chat requests of `size` prompt bytes each; `next()` is one whole HTTP request."""

    def __init__(self, size: int, seed: int, tokens: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._size, self._seed, self._serial = size, seed, 0
        self._text = _text()
        self._span = len(self._text) - size
        stream = f',"stream":true,"max_tokens":{tokens}' if tokens else ',"max_tokens":20'
        self._end = f'"}}],"temperature":0.7{stream}}}'.encode()
        self._start = f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"'.encode()
        self._head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: llm.example.com\r\n"
            f"Authorization: Bearer {KEY}\r\nUser-Agent: OpenAI/Python 2.8.0\r\n"
            "Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\n"
            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        ).encode()

    def next(self) -> bytes:
        self._serial += 1
        opening = b"%d-%d " % (self._seed, self._serial)
        at = int(self._random.random() * self._span)
        text = self._text[at : at + self._size - len(opening)]
        if text.endswith(b"\\"):  # an escape cut in half
            text = text[:-1] + b" "
        body = b"".join((self._start, opening, text, self._end))
        return self._head % len(body) + body
