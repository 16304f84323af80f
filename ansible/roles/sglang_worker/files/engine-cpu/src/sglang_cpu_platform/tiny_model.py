"""Write a small random model with a trained tokenizer: `python -m … OUT [--seed N]`.

The model is real in every way a serving system can see (safetensors weights, a config, a
byte-level BPE tokenizer, a chat template) and says nothing sensible. The same seed gives the
same files, so two bakes of one specification serve the same answers.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

#: ChatML, as Qwen uses it: one marked turn per message.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    f"{TURN_START}{{{{ message['role'] }}}}\n{{{{ message['content'] }}}}{TURN_END}\n"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{TURN_START}assistant\n{{% endif %}}"
)

#: Enough English and enough of this project's words for a vocabulary that compresses prompts.
WORDS = """
    a about all an and answer any are as ask at be because been before but by cache call can
    city could day do each engine false first fleet for from gate good had has have he hello
    her his host how i if image in into is it its json just key know language large last like
    long make many me model more most my name new no not now null number of on one only or
    other our out over prefix prompt queue ready release request river route router said say
    see server she small so some stream system text than that the their them then there these
    they this time tiny to token true two up use user very was water way we weather were what
    when where which who why will with word work worker world would write year you your
""".split()  # noqa: SIM905 - reads as the list it is


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. The defaults make about 200,000 parameters (0.4 MB)."""

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    vocabulary: int = 1024
    context: int = 4096


def corpus(seed: int) -> Iterator[str]:
    """Sentences and JSON objects to train the tokenizer on."""
    choose = random.Random(seed)  # noqa: S311 - reproducible text, not a secret
    for _ in range(4000):
        sentence = " ".join(choose.choices(WORDS, k=choose.randint(4, 24)))
        yield sentence + choose.choice((".", "?", "!", "\n"))
    for _ in range(500):
        yield json.dumps({choose.choice(WORDS): choose.randint(0, 9999), "ok": True})


def train_tokenizer(shape: Shape, seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that any text at all can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=[END_OF_TEXT, TURN_START, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(seed), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        eos_token=TURN_END,
        model_max_length=shape.context,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model(
    shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int, dtype: torch.dtype
) -> LlamaForCausalLM:
    """A Llama of the given shape with random weights.

    The initial range is ten times the usual one: with the usual one all logits are nearly
    equal, and greedy decoding would hang on rounding.
    """
    torch.manual_seed(seed)
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = LlamaConfig(
        vocab_size=(len(tokenizer) + 63) // 64 * 64,
        hidden_size=shape.hidden,
        intermediate_size=shape.hidden * 2,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.hidden // shape.heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=False,
        initializer_range=0.2,
        **special,
    )
    model = LlamaForCausalLM(config).to(dtype)
    model.config.dtype = dtype
    model.generation_config = GenerationConfig(**special)
    return model


def generate(out: Path, shape: Shape, seed: int, dtype: torch.dtype = torch.bfloat16) -> int:
    """Write the model and its tokenizer into `out`; return its number of parameters."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(shape, seed)
    model = build_model(shape, tokenizer, seed, dtype)
    tokenizer.save_pretrained(out)
    model.save_pretrained(out)
    return sum(parameter.numel() for parameter in model.parameters())


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sglang_cpu_platform.tiny_model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    for name, default in asdict(Shape()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    given = parser.parse_args(arguments)
    shape = Shape(**{name: getattr(given, name) for name in asdict(Shape())})
    parameters = generate(given.out, shape, given.seed)
    files = {path.name: path.stat().st_size for path in sorted(given.out.iterdir())}
    json.dump({"parameters": parameters, "bytes": files}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
