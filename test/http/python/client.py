"""OpenAI's Python client, driven by openai-python.test.ts: reads one call a line ({"call", "url", ...}) and writes
one line for each: {"value": ...}, or {"error": ...} with what the client's exception says."""

import asyncio
import json
import sys
import time
from typing import Literal

import openai
from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["circle", "square"]
    count: int = Field(ge=0, le=99)


class Drawing(BaseModel):
    model_config = ConfigDict(extra="forbid")
    shapes: list[Shape] = Field(min_length=1, max_length=2)
    title: str = Field(max_length=8)


def client(call):
    return openai.OpenAI(base_url=call["url"] + "/v1", api_key="none", max_retries=call.get("max_retries", 0),
                         timeout=call.get("timeout_s", 60))


def models(call):
    api = client(call)
    return [[model.id for model in api.models.list()], api.models.retrieve(call["model"]).id]


def chat(call):
    return client(call).chat.completions.create(**call["body"]).model_dump()


def stream(call):
    return [chunk.model_dump() for chunk in client(call).chat.completions.create(stream=True, **call["body"])]


def complete(call):
    return client(call).completions.create(**call["body"]).model_dump()


def headers(call):
    raw = client(call).chat.completions.with_raw_response.create(**call["body"])
    return {"status": raw.status_code, "headers": dict(raw.headers), "id": raw.parse().id}


def parse(call):
    """A schema that the client makes of a class, and the answer as an object of it."""
    completion = client(call).chat.completions.parse(response_format=Drawing, **call["body"])
    drawing = completion.choices[0].message.parsed
    assert isinstance(drawing, Drawing)
    return drawing.model_dump()


def parse_tool(call):
    tool = openai.pydantic_function_tool(Drawing, name="draw", description="Draws.")
    completion = client(call).chat.completions.parse(tools=[tool], **call["body"])
    [made] = completion.choices[0].message.tool_calls
    assert isinstance(made.function.parsed_arguments, Drawing)
    return {"name": made.function.name, "id": made.id, "reason": completion.choices[0].finish_reason,
            "arguments": json.loads(made.function.arguments)}


def stream_tool(call):
    """The client's own gathering of a stream: events of its pieces, then the whole."""
    tool = openai.pydantic_function_tool(Drawing, name="draw", description="Draws.")
    with client(call).chat.completions.stream(tools=[tool], **call["body"]) as events:
        kinds = [event.type for event in events]
        completion = events.get_final_completion()
    [made] = completion.choices[0].message.tool_calls
    return {"kinds": kinds, "name": made.function.name, "arguments": json.loads(made.function.arguments)}


def leave(call):
    """Reads one piece of a stream and closes it."""
    events = client(call).chat.completions.create(stream=True, **call["body"])
    first = next(iter(events)).model_dump()
    events.close()
    return first


async def gather(call):
    """All bodies at once over one asynchronous client, every second one as a stream."""
    async with openai.AsyncOpenAI(base_url=call["url"] + "/v1", api_key="none", max_retries=0) as api:

        async def ask(index, body):
            if index % 2 == 0:
                whole = await api.chat.completions.create(**body)
                return whole.choices[0].message.content
            text = ""
            async for chunk in await api.chat.completions.create(stream=True, **body):
                text += chunk.choices[0].delta.content or ""
            return text

        return await asyncio.gather(*(ask(index, body) for index, body in enumerate(call["bodies"])))


async def cancel(call):
    """Sixteen tasks, cancelled while they wait for their answers."""
    async with openai.AsyncOpenAI(base_url=call["url"] + "/v1", api_key="none", max_retries=0) as api:
        tasks = [asyncio.create_task(api.chat.completions.create(**call["body"])) for _ in range(16)]
        await asyncio.sleep(call["after_s"])
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    return [type(end).__name__ for end in ends]


CALLS = {one.__name__: one for one in
         (models, chat, stream, complete, headers, parse, parse_tool, stream_tool, leave, gather, cancel)}


def describe(error):
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("openai")]
    said = {name: getattr(error, name, None) for name in ("status_code", "code", "param", "type", "request_id")}
    response = getattr(error, "response", None)
    found = {} if response is None else dict(response.headers)
    return {"kind": type(error).__name__, "kinds": kinds, "message": str(error), "headers": found, **said}


for line in sys.stdin:
    call = json.loads(line)
    start = time.monotonic()
    try:
        value = CALLS[call["call"]](call)
        answer = {"value": asyncio.run(value) if asyncio.iscoroutine(value) else value}
    except openai.OpenAIError as error:
        answer = {"error": describe(error)}
    print(json.dumps({**answer, "took_s": time.monotonic() - start}), flush=True)
