"""The `anthropic` package against Bifrost. One case a run: anthropic_client.py CASE [MODEL]."""

import time

import anthropic
from anthropic import Anthropic

from seen import ADDRESS, KEY, breaks, check, fails, http, kill, main, note, times

client = Anthropic(base_url=ADDRESS, api_key=KEY, max_retries=0, http_client=http())
# As the package comes: an error of the server's side is asked again, twice, after half a second and more.
patient = Anthropic(base_url=ADDRESS, api_key=KEY, http_client=http())

WEATHER = {
    "name": "get_weather",
    "description": "The weather of the next days.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = 'Look it up. [[call get_weather {"city": "Rome"}]]'


def user(text):
    return [{"role": "user", "content": text}]


def greets(text, model):
    check(text.startswith(f"{model.capitalize()} here."), model, text)


def whole(model):
    answer = client.messages.create(model=model, max_tokens=40, messages=user("Hi"))
    greets(answer.content[0].text, model)
    check(answer.stop_reason == "max_tokens" and answer.usage.output_tokens == 40, answer)


def streamed(model, client=client):
    words, kinds = "", []
    for event in client.messages.create(model=model, max_tokens=40, messages=user("Hi"), stream=True):
        kinds.append(event.type)
        if event.type == "content_block_delta":
            words += event.delta.text
    greets(words, model)
    check(kinds.count("message_start") == 1 and kinds[-1] == "message_stop", kinds)


def streamed_by_helper(model):
    with client.messages.stream(model=model, max_tokens=40, messages=user("Hi")) as stream:
        words = "".join(stream.text_stream)
        done = stream.get_final_message()
    greets(words, model)
    check(done.content[0].text == words and done.stop_reason == "max_tokens", done)


def tools(model):
    asked = user(CALL)
    answer = client.messages.create(model=model, max_tokens=400, messages=asked, tools=[WEATHER])
    [call] = answer.content
    check((answer.stop_reason, call.name, call.input) == ("tool_use", "get_weather", {"city": "Rome"}), answer)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny, 24 degrees."}
    told = asked + [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    last = client.messages.create(model=model, max_tokens=400, messages=told, tools=[WEATHER])
    check("Sunny, 24 degrees." in last.content[0].text, last)
    with client.messages.stream(model=model, max_tokens=400, messages=asked, tools=[WEATHER]) as stream:
        done = stream.get_final_message()
    check((done.stop_reason, done.content[0].input) == ("tool_use", {"city": "Rome"}), done)


def awake(model="thor"):
    whole(model)
    streamed(model)
    streamed_by_helper(model)
    tools(model)
    counted = client.messages.count_tokens(model=model, messages=user("Hi"))
    check(counted.input_tokens > 0, counted)
    fails(anthropic.NotFoundError, lambda: client.messages.create(model="hel", max_tokens=8, messages=user("Hi")))


def asleep_stream(model, load):
    """The client gives up after READ seconds without a byte, and the agent loads for longer."""
    began = time.monotonic()
    streamed_by_helper(model)
    spent = note("times", times())
    check(spent["head"] < 1 and spent["first"] < 1 and spent["silence"] < 5, spent)
    check(time.monotonic() - began >= float(load), "it was awake")


def asleep_whole(model, load):
    began = time.monotonic()
    whole(model)
    check(time.monotonic() - began >= float(load), "it was awake")


def killed(model):
    def ask():
        with client.messages.stream(model=model, max_tokens=400, messages=user("Tell a long story.")) as stream:
            for number, _ in enumerate(stream):
                if number == 12:
                    kill()
            return stream.get_final_message()

    breaks(Exception, ask)
    streamed(model, client=patient)


def wrong_key(model="thor"):
    for ask in (whole, streamed):
        error = fails(anthropic.AuthenticationError, lambda: ask(model))
        check(error.status_code == 401 and KEY not in str(error), error)


def right_key(model, forbidden):
    streamed(model)
    fails(anthropic.PermissionDeniedError, lambda: whole(forbidden))


main({k: v for k, v in globals().items() if callable(v)})
