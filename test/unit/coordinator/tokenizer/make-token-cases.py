"""Writes token-cases.json: what transformers makes of the files that may add tokens to a tokenizer.

Needs a Python with transformers; run it in the repository's root after a change to the table below:
    python3 test/unit/coordinator/tokenizer/make-token-cases.py
"""

import json
import pathlib
import tempfile

from transformers import AutoTokenizer

GOLDEN = json.loads(pathlib.Path("test/golden/tiny-text/tokenizer.json").read_text())
TEXT = "a<ref>b</ref> <think>c</think><|im_end|><box>x</box>xbox <|quad|> e"


def without(*contents):
    return {**GOLDEN, "added_tokens": [token for token in GOLDEN["added_tokens"] if token["content"] not in contents]}


def token(content, **options):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True, **options}


GENERIC = {"tokenizer_class": "PreTrainedTokenizerFast"}
MERGES = "#version: 0.2\n" + "".join(" ".join(merge) + "\n" if isinstance(merge, list) else merge + "\n" for merge in GOLDEN["model"]["merges"])
VOCAB = {"vocab.json": GOLDEN["model"]["vocab"], "merges.txt": MERGES}
EXTRA = {"added_tokens_decoder": {"373": token("<ref>"), "374": token("</ref>"), "375": token("<think>", special=False)}}

# Files that lie beside each other. Strings are text, anything else JSON; None takes a file away.
CASES = {
    "tokenizer.json alone": {"tokenizer.json": GOLDEN, "tokenizer_config.json": GENERIC},
    "added_tokens_decoder": {"tokenizer.json": GOLDEN, "tokenizer_config.json": {**GENERIC, **EXTRA}},
    "added_tokens_decoder, out of order": {
        "tokenizer.json": GOLDEN,
        "tokenizer_config.json": {**GENERIC, "added_tokens_decoder": dict(reversed(EXTRA["added_tokens_decoder"].items()))},
    },
    "added_tokens_decoder changes a flag": {
        "tokenizer.json": GOLDEN,
        "tokenizer_config.json": {**GENERIC, "added_tokens_decoder": {"369": token("<|im_end|>", rstrip=True, special=False)}},
    },
    "a token of the vocabulary becomes an added one": {
        "tokenizer.json": GOLDEN,
        "tokenizer_config.json": {**GENERIC, "added_tokens_decoder": {str(GOLDEN["model"]["vocab"]["e"]): token("e")}},
    },
    "added_tokens.json": {
        "tokenizer.json": GOLDEN,
        "tokenizer_config.json": GENERIC,
        "added_tokens.json": {"</think>": 374, "<think>": 373},
    },
    "added_tokens.json counts for nothing beside added_tokens_decoder": {
        "tokenizer.json": GOLDEN,
        "tokenizer_config.json": {**GENERIC, **EXTRA},
        "added_tokens.json": {"</think>": 376},
    },
    "special_tokens_map.json": {
        "tokenizer.json": GOLDEN,
        "tokenizer_config.json": GENERIC,
        "special_tokens_map.json": {"eos_token": token("<|im_end|>"), "additional_special_tokens": ["<ref>", "</ref>"]},
    },
    "special_tokens_map.json makes tokens of added_tokens.json special": {
        "tokenizer.json": GOLDEN,
        "tokenizer_config.json": GENERIC,
        "added_tokens.json": {"<ref>": 373, "<box>": 374},
        "special_tokens_map.json": {"extra_special_tokens": ["<ref>"], "pad_token": "<|endoftext|>"},
    },
    "special_tokens_map.json counts for nothing beside added_tokens_decoder": {
        "tokenizer.json": GOLDEN,
        "tokenizer_config.json": {**GENERIC, **EXTRA},
        "special_tokens_map.json": {"eos_token": "<box>"},
    },
    "named tokens and additional_special_tokens": {
        "tokenizer.json": GOLDEN,
        "tokenizer_config.json": {**GENERIC, "eos_token": "<|im_end|>", "unk_token": "<unk>", "additional_special_tokens": ["<box>"]},
    },
    "names of the model's own": {
        "tokenizer.json": GOLDEN,
        "tokenizer_config.json": {**GENERIC, "context_image_token": "<IMG_CONTEXT>", "extra_special_tokens": {"ref_token": "<ref>"}},
    },
    "vocab.json and merges.txt": {**VOCAB, "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer"}},
    "vocab.json and merges.txt with added_tokens_decoder": {
        **VOCAB,
        "tokenizer_config.json": {
            "tokenizer_class": "Qwen2Tokenizer",
            "eos_token": "<|im_end|>",
            "added_tokens_decoder": {
                str(token_["id"]): {key: value for key, value in token_.items() if key != "id"} for token_ in GOLDEN["added_tokens"]
            },
        },
    },
    "vocab.json and merges.txt with added_tokens.json": {
        **VOCAB,
        "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        "added_tokens.json": {token_["content"]: token_["id"] for token_ in GOLDEN["added_tokens"]},
    },
}


def expected(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            pathlib.Path(folder, name).write_text(text)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        added = {str(token_): [index, token_.special] for index, token_ in tokenizer.added_tokens_decoder.items()}
        return {"ids": tokenizer.encode(TEXT, add_special_tokens=False), "added": added}


def shorten(files):
    """The golden vocabulary is not written again: the test lays it there."""
    marks = {"tokenizer.json": GOLDEN, "vocab.json": VOCAB["vocab.json"], "merges.txt": MERGES}
    return {name: "golden" if marks.get(name) == content else content for name, content in files.items()}


def main():
    cases = {name: {"files": shorten(files), **expected(files)} for name, files in CASES.items()}
    path = pathlib.Path(__file__).with_name("token-cases.json")
    path.write_text(json.dumps({"text": TEXT, "cases": cases}, ensure_ascii=False, indent=1) + "\n")
    print(f"{len(cases)} cases, {path.stat().st_size} bytes")


main()
