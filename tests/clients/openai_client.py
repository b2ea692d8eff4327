"""The `openai` package against Bifrost. One case a run: openai_client.py CASE [MODEL]."""

import json
import threading
import time

import openai
from openai import OpenAI

from seen import ADDRESS, AGENTS, KEY, breaks, check, fails, http, kill, main, note, times

client = OpenAI(base_url=f"{ADDRESS}/v1", api_key=KEY, max_retries=0, http_client=http())
# As the package comes: an error of the server's side is asked again, twice, after half a second and more.
patient = OpenAI(base_url=f"{ADDRESS}/v1", api_key=KEY, http_client=http())

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
RESPONSES_TOOL = {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": True}
CALL = 'Look it up. [[call get_weather {"city": "Rome", "days": 3}]]'


def user(text):
    return [{"role": "user", "content": text}]


def greets(text, model):
    """The stand-in says who it is, so an answer of another agent is seen."""
    check(text.startswith(f"{model.capitalize()} here."), model, text)


def models():
    listed = client.models.list().data
    check([m.id for m in listed[:6]] == AGENTS, listed)
    check(all(m.object == "model" for m in listed), listed)
    note("models", [m.id for m in listed])


def whole(model, text="Hi", client=client):
    answer = client.chat.completions.create(model=model, messages=user(text), max_tokens=40)
    greets(answer.choices[0].message.content, model)
    check(answer.choices[0].finish_reason == "length", answer)
    check(answer.usage.completion_tokens == 40, answer.usage)
    return answer


def streamed(model, text="Hi", tokens=40, client=client):
    words, finish, usage = "", None, None
    for chunk in client.chat.completions.create(
        model=model, messages=user(text), max_tokens=tokens, stream=True, stream_options={"include_usage": True}
    ):
        if chunk.choices:
            words += chunk.choices[0].delta.content or ""
            finish = chunk.choices[0].finish_reason or finish
        usage = chunk.usage or usage
    greets(words, model)
    check(finish == "length" and usage and usage.completion_tokens == tokens, finish, usage)
    return words


def streamed_by_helper(model):
    with client.chat.completions.stream(model=model, messages=user("Hi"), max_tokens=400) as stream:
        kinds = {event.type for event in stream}
        done = stream.get_final_completion()
    greets(done.choices[0].message.content, model)
    check(done.choices[0].finish_reason == "stop" and "content.delta" in kinds and "content.done" in kinds, kinds)


def tools(model):
    asked = user(CALL)
    answer = client.chat.completions.create(model=model, messages=asked, tools=[CHAT_TOOL])
    [call] = answer.choices[0].message.tool_calls
    check(answer.choices[0].finish_reason == "tool_calls", answer)
    check(call.function.name == "get_weather", call)
    check(json.loads(call.function.arguments) == {"city": "Rome", "days": 3}, call)
    # The tool's answer goes back, and the conversation ends with words.
    told = asked + [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 24 degrees."}]
    last = client.chat.completions.create(model=model, messages=told, tools=[CHAT_TOOL])
    check("Sunny, 24 degrees." in last.choices[0].message.content, last)
    # The same call as it is streamed, put together by hand and by the package.
    name, arguments, finish = None, "", None
    for chunk in client.chat.completions.create(model=model, messages=asked, tools=[CHAT_TOOL], stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            name = part.function.name or name
            arguments += part.function.arguments or ""
        finish = chunk.choices[0].finish_reason or finish
    check((name, json.loads(arguments), finish) == ("get_weather", {"city": "Rome", "days": 3}, "tool_calls"), name, arguments, finish)
    strict = {"type": "function", "function": {**CHAT_TOOL["function"], "strict": True}}
    with client.chat.completions.stream(model=model, messages=asked, tools=[strict]) as stream:
        kinds = {event.type for event in stream}
        done = stream.get_final_completion()
    [call] = done.choices[0].message.tool_calls
    check(call.function.parsed_arguments == {"city": "Rome", "days": 3}, call)
    check("tool_calls.function.arguments.done" in kinds, kinds)


def responses(model, client=client):
    answer = client.responses.create(model=model, input="Hi")
    greets(answer.output_text, model)
    check(answer.status == "completed" and answer.usage.output_tokens > 10, answer)


def streamed_responses(model):
    kinds, words, last = [], "", None
    for event in client.responses.create(model=model, input="Hi", stream=True):
        kinds.append(event.type)
        if event.type == "response.output_text.delta":
            words += event.delta
        last = event
    greets(words, model)
    check(kinds.count("response.created") == 1, kinds)
    check(last.type == "response.completed" and last.response.output_text == words, last)
    with client.responses.stream(model=model, input="Hi") as stream:
        for _ in stream:
            pass
        check(stream.get_final_response().output_text == words)


def tools_of_responses(model):
    asked = [{"role": "user", "content": CALL}]
    answer = client.responses.create(model=model, input=asked, tools=[RESPONSES_TOOL])
    [call] = [item for item in answer.output if item.type == "function_call"]
    check((call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Rome", "days": 3}), call)
    told = asked + [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 24 degrees."},
    ]
    last = client.responses.create(model=model, input=told, tools=[RESPONSES_TOOL])
    check("Sunny, 24 degrees." in last.output_text, last)
    with client.responses.stream(model=model, input=asked, tools=[RESPONSES_TOOL]) as stream:
        kinds = {event.type for event in stream}
        done = stream.get_final_response()
    [call] = [item for item in done.output if item.type == "function_call"]
    check(json.loads(call.arguments) == {"city": "Rome", "days": 3}, call)
    check("response.function_call_arguments.done" in kinds, kinds)


def awake(model="thor"):
    models()
    whole(model)
    streamed(model)
    streamed_by_helper(model)
    tools(model)
    responses(model)
    streamed_responses(model)
    tools_of_responses(model)
    text = client.completions.create(model=model, prompt="Hi", max_tokens=8).choices[0].text
    greets(text, model)
    # A name that nobody has is the gateway's own refusal, with the names that exist.
    error = fails(openai.NotFoundError, lambda: client.chat.completions.create(model="hel", messages=user("Hi")))
    check("thor" in str(error) and "odin" in str(error), error)
    check(error.body.get("message") and error.body.get("type"), error.body)


def lives(load):
    """After a request that had to wait for `load` seconds: head and first byte at once, and life all the time."""
    spent = note("times", times())
    check(spent["head"] < 1 and spent["first"] < 1, spent)
    check(spent["silence"] < 5, spent)
    return float(load)


def asleep_stream(model, load):
    """The client gives up after READ seconds without a byte, and the agent loads for longer."""
    began = time.monotonic()
    streamed(model)
    check(time.monotonic() - began >= lives(load), "it was awake")


def asleep_responses(model, load):
    began = time.monotonic()
    with client.responses.stream(model=model, input="Hi") as stream:
        kinds = [event.type for event in stream]
        done = stream.get_final_response()
    greets(done.output_text, model)
    note("kinds", sorted(set(kinds)))
    check(kinds[0] == "response.created" and kinds.count("response.created") == 1, kinds)
    check(time.monotonic() - began >= lives(load), "it was awake")


def asleep_whole(model, load):
    """Not streamed: held until the answer is there."""
    began = time.monotonic()
    answer = whole(model)
    check(time.monotonic() - began >= float(load), "it was awake", answer)


def asleep_if_asked(model):
    """Not streamed, and the client would rather be told than wait."""
    error = fails(
        openai.InternalServerError,
        lambda: client.chat.completions.create(
            model=model, messages=user("Hi"), max_tokens=8, extra_headers={"Prefer": "wait=1"}
        ),
    )
    check(error.status_code == 503 and int(error.response.headers["retry-after"]) > 0, error)


def queued(first, second):
    """`second` is asked for while `first` answers a long stream, and the two are never awake together."""
    words, finish, ended = [], None, None
    begun = threading.Event()

    def long():
        nonlocal finish, ended
        for chunk in OpenAI(base_url=f"{ADDRESS}/v1", api_key=KEY, max_retries=0).chat.completions.create(
            model=first, messages=user("Tell a long story."), max_tokens=150, stream=True
        ):
            if chunk.choices and chunk.choices[0].delta.content:
                words.append(chunk.choices[0].delta.content)
                if len(words) == 5:
                    begun.set()
            finish = chunk.choices and chunk.choices[0].finish_reason or finish
        ended = time.monotonic()

    other = threading.Thread(target=long, daemon=True)
    other.start()
    check(begun.wait(30), "the first stream began")
    streamed(second)
    done = time.monotonic()
    lives(0)
    other.join(30)
    check(finish == "length" and len(words) == 150, finish, len(words))
    check(ended is not None and ended < done, "the long answer was finished before the swap")


def killed(model):
    """The agent dies under a stream: an error, never a good end; and the next request restarts it."""

    def ask():
        pieces = 0
        for chunk in client.chat.completions.create(
            model=model, messages=user("Tell a long story."), max_tokens=400, stream=True
        ):
            pieces += 1
            if pieces == 10:
                kill()
        return pieces

    error = breaks(openai.APIError, ask)
    check(not isinstance(error, openai.APITimeoutError), error)
    streamed(model, client=patient)


def killed_responses(model):
    def ask():
        pieces = 0
        for event in client.responses.create(model=model, input="Tell a long story.", stream=True):
            pieces += 1
            if pieces == 12:
                kill()
            if event.type in ("response.failed", "error"):
                raise RuntimeError(event)
        return pieces

    breaks(Exception, ask)
    responses(model, client=patient)


def killed_whole(model):
    def ask():
        killer = threading.Timer(1, kill)
        killer.start()
        return client.chat.completions.create(model=model, messages=user("Tell a long story."), max_tokens=400)

    error = breaks(openai.APIStatusError, ask)
    check(error.status_code >= 500 and error.body, error)
    whole(model, client=patient)


def wrong_key(model="thor"):
    error = fails(openai.AuthenticationError, lambda: client.models.list())
    check(error.status_code == 401 and error.body.get("message") and KEY not in str(error), error)
    fails(openai.AuthenticationError, lambda: streamed(model))
    fails(openai.AuthenticationError, lambda: client.responses.create(model=model, input="Hi"))


def right_key(model, forbidden):
    models_seen = [m.id for m in client.models.list().data]
    check(model in models_seen, models_seen)
    streamed(model)
    error = fails(openai.PermissionDeniedError, lambda: whole(forbidden))
    check(error.body.get("message"), error)


main({k: v for k, v in globals().items() if callable(v)})
