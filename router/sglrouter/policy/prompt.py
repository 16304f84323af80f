"""What of a request an engine can have cached: its prompt, as chained hashes of blocks. Pure.

Everything an engine's chat template puts before the answer counts, in the template's order:
tools, system text, messages. Engines cache by token; here a prompt is its JSON text, four bytes
a token, so the same conversation gives the same bytes without a tokenizer.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson
from xxhash import xxh3_64_hexdigest, xxh3_64_intdigest

from sglrouter.inner import blocks, hash_blocks
from sglrouter.inner.blocks import Hashes

BYTES_PER_TOKEN: Final = 4
_LONG_NAME: Final = 256
# A bare prompt shows no turns: this much of it names the conversation.
_BARE_START: Final = 2048

#: Fields that come before the messages, in the order of templates.
_BEFORE: Final = ("tools", "functions", "system", "instructions")
_BEFORE_SET: Final = frozenset(_BEFORE)

#: Parts of a message that become other tokens than their own text, in OpenAI's and Anthropic's API.
_MEDIA: Final = frozenset(
    [
        *("image", "image_url", "input_image"),
        *("audio", "audio_url", "input_audio"),
        *("video", "video_url", "input_video"),
        *("file", "input_file", "document"),
    ]
)
# A medium stands as this many bytes, i.e. 512 tokens: about an image of 0.4 megapixels.
_MEDIUM_BYTES: Final = 512 * BYTES_PER_TOKEN

#: Fields that give a request a cache of its own (SGLang's protocol.py: adapter, salt, extra key).
_NAMESPACE: Final = frozenset({"lora_path", "cache_salt", "extra_key"})


#: Where the n-th block ends, in bytes from the prompt's start.
BLOCK_ENDS: Final = blocks.BLOCK_ENDS
#: Tokens in the first n blocks.
TOKENS_AT: Final = tuple(end // BYTES_PER_TOKEN for end in (0, *BLOCK_ENDS))


#: A hash to be computed: a function that returns it, and what it takes.
_Later = tuple[Callable[..., int], *tuple[Any, ...]]


class Prompt:
    """`tokens`: estimate of the whole; `blocks`: hash of each full block and all before it;
    `conversation`: alike in every turn of a conversation, on every host. All hashes have 64 bits.
    `hashes`: the blocks as `hash_blocks` gave them.
    """

    __slots__ = ("_conversation", "hashes", "tokens")

    def __init__(self, tokens: int, hashes: Hashes, conversation: int | _Later) -> None:
        self.tokens = tokens
        self.hashes = hashes
        self._conversation = conversation

    @property
    def blocks(self) -> Sequence[int]:
        hashes = self.hashes
        return memoryview(hashes).cast("Q") if isinstance(hashes, bytes) else hashes

    @property
    def conversation(self) -> int:
        """Computed when it is first asked for: most policies never do."""
        if not isinstance(self._conversation, int):
            compute, *arguments = self._conversation
            self._conversation = compute(*arguments)
        return self._conversation


def read_prompt(document: Mapping[str, Any] | None, body: bytes) -> Prompt:
    """The prompt of a parsed body; a body that is no JSON, or has no prompt, has no blocks."""
    if document is None:
        return Prompt(0, [], 0)
    seed = _seed(document)
    try:
        messages = document.get("messages")
        if messages is None:
            messages = document.get("input")
        if type(messages) is list and messages and type(messages[0]) is dict:
            return _of_messages(document, messages, seed)
        return _of_text(document, seed, body)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Engines may read what cannot be written again (lone surrogates, numbers beyond 64 bits).
        return _of_bytes(body, len(body), seed)


def of_found(model: str | None, data: bytes, start: int, size: int, turn: int) -> Prompt:
    """The same of what `inner.read_body` found: the prompt's bytes are data[start:start + size].

    `turn`: where in them the first user's message ends; 0: it is a bare prompt.
    """
    seed = 0 if model is None else _name_seed(model)
    hashes = hash_blocks(data, start, size - 1 if turn else size, seed)
    conversation = (_found_conversation, data, start, size, turn, seed)
    return Prompt(size // BYTES_PER_TOKEN, hashes, conversation)


def _found_conversation(data: bytes, start: int, size: int, turn: int, seed: int) -> int:
    if turn:
        return xxh3_64_intdigest(data[start : start + turn] + b"]", seed)
    return xxh3_64_intdigest(data[start : start + min(size, _BARE_START)], seed)


def _seed(document: Mapping[str, Any]) -> int:
    """Where the chain starts: prompts of different models or adapters share no cache."""
    model = document.get("model")
    seed = _name_seed(model) if type(model) is str else 0
    if _NAMESPACE.isdisjoint(document):
        return seed
    names = sorted(_NAMESPACE.intersection(document))
    try:
        return xxh3_64_intdigest(_encode([[name, document[name]] for name in names]), seed)
    except (ValueError, RecursionError):  # no engine takes such a name
        return seed


def _hash_name(model: str) -> int:
    return xxh3_64_intdigest(_text(model))


_model_seed = lru_cache(maxsize=256)(_hash_name)


def _name_seed(model: str) -> int:
    """A long name is a stranger's, and is not kept."""
    return _model_seed(model) if len(model) < _LONG_NAME else _hash_name(model)


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _encode(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


# messages


def _of_messages(document: Mapping[str, Any], messages: list[Any], seed: int) -> Prompt:
    data = _start(document) + _encode(_settled(messages))
    # Without the closing bracket, so that a later turn's text begins with this one's.
    hashes = hash_blocks(data, 0, len(data) - 1, seed)
    conversation = (_message_conversation, document, messages, seed)
    return Prompt(len(data) // BYTES_PER_TOKEN, hashes, conversation)


def _start(document: Mapping[str, Any]) -> bytes:
    """What comes before the messages: tools, and the system text where it has its own field."""
    if _BEFORE_SET.isdisjoint(document):
        return b""
    data = b""
    for name in _BEFORE:
        value = document.get(name)
        if value:
            # A system text in parts may carry the mark that moves; tools are many, and do not.
            data += _encode(_settled(value) if name == "system" and type(value) is list else value)
    return data


def _message_conversation(document: Mapping[str, Any], messages: list[Any], seed: int) -> int:
    first = next(
        (n for n, m in enumerate(messages, 1) if type(m) is dict and m.get("role") == "user"),
        len(messages),
    )
    try:
        data = _start(document) + _encode(_settled(messages[:first]))
    except (TypeError, ValueError, RecursionError):
        return seed
    return xxh3_64_intdigest(data, seed)


def _settled(items: list[Any]) -> list[Any]:
    """`items` as they will read in every later turn too, with media replaced by their digests."""
    for item in items:
        if type(item) is dict and (
            type(item.get("content")) is list or "type" in item or "cache_control" in item
        ):
            return [_settled_item(item, 3) for item in items]
    return items


def _settled_item(item: Any, levels: int) -> Any:
    if type(item) is not dict:
        return item
    if item.get("type") in _MEDIA:
        return _stand_in(item)
    # Anthropic's clients move this mark to the newest message at each turn.
    item = {name: value for name, value in item.items() if name != "cache_control"}
    content = item.get("content")
    if type(content) is list and levels:
        item["content"] = [_settled_item(part, levels - 1) for part in content]
    return item


def _stand_in(part: dict[str, Any]) -> str:
    digest = xxh3_64_hexdigest(_encode(part))
    return digest * (_MEDIUM_BYTES // len(digest))


# bare prompts


def _of_text(document: Mapping[str, Any], seed: int, body: bytes) -> Prompt:
    for name in ("prompt", "text", "input_ids", "input"):
        value = document.get(name)
        if value:
            break
    else:
        return Prompt(len(body) // BYTES_PER_TOKEN, [], xxh3_64_intdigest(body[:_BARE_START], seed))
    media = document.get("image_data")
    if media:
        # The engine puts images inside the text; a prompt whose first one differs is another.
        first = media[0] if type(media) is list else media
        seed = xxh3_64_intdigest(_encode(first), seed)
    first = value[0] if type(value) is list and type(value[0]) in (str, list) else value
    data = _bare(first)
    total = len(data) if first is value else sum(len(_bare(item)) for item in value)
    return _of_bytes(data, total, seed)


def _bare(value: Any) -> bytes:
    """A prompt's text, or its token ids at four bytes each."""
    if type(value) is str:
        return _text(value)
    if type(value) is list:
        return array("I", value).tobytes()
    return _encode(value)


def _of_bytes(data: bytes, total: int, seed: int) -> Prompt:
    """A batch of `total` bytes goes where its first prompt, `data`, is cached."""
    start = data[:_BARE_START]
    return Prompt(
        total // BYTES_PER_TOKEN,
        hash_blocks(data, 0, len(data), seed),
        (xxh3_64_intdigest, start, seed),
    )
