"""What the scripts in Python share: the one address, a clock, and a witness of the bytes as they came."""

import json
import os
import signal
import sys
import time
import traceback

import httpx2 as httpx

ADDRESS = os.environ["BIFROST"]  # http://127.0.0.1:PORT
KEY = os.environ.get("BIFROST_KEY", "any")
AGENTS = ["thor", "valkyrie", "odin", "heimdall", "loki", "frigga"]
# No byte for so long, and the client gives up.
READ = float(os.environ.get("CLIENT_READ_SECONDS", "60"))

seen = {}


class Witness(httpx.HTTPTransport):
    """Notes of the last answer: when its head came, when its first byte came, and the longest silence in it."""

    head = first = silence = None
    status = None
    headers = None

    def handle_request(self, request):
        began = last = time.monotonic()
        Witness.head = Witness.first = None
        Witness.silence = 0.0
        answer = super().handle_request(request)
        Witness.head = time.monotonic() - began
        Witness.status, Witness.headers = answer.status_code, dict(answer.headers)
        inner = answer.stream

        class Watched(httpx.SyncByteStream):
            def __iter__(self):
                nonlocal last
                for part in inner:
                    now = time.monotonic()
                    if Witness.first is None:
                        Witness.first = now - began
                    Witness.silence = max(Witness.silence, now - last)
                    last = now
                    yield part

            def close(self):
                inner.close()

        answer.stream = Watched()
        return answer


def http():
    return httpx.Client(transport=Witness(), timeout=httpx.Timeout(READ, connect=5), trust_env=False)


def times():
    """Of the last answer, in seconds."""
    return {k: round(v, 3) for k, v in (("head", Witness.head), ("first", Witness.first), ("silence", Witness.silence)) if v is not None}


def note(name, value):
    seen[name] = value
    return value


def check(truth, *what):
    if not truth:
        raise AssertionError(f"{what!r}")


def fails(kind, ask):
    """`ask` must raise an error of this kind, which is handed back."""
    try:
        ended = ask()
    except kind as error:
        note("error", f"{type(error).__name__}: {error}")
        return error
    except Exception as error:
        raise AssertionError(f"another error: {type(error).__name__}: {error}") from error
    raise AssertionError(f"this came to a good end: {ended!r}")


def breaks(kind, ask):
    """As `fails`, of an ask in which the agent is killed."""
    error = fails(kind, ask)
    check(seen.get("killed"), "it failed before the agent was killed")
    return error


def kill():
    """`kill -9` of the one process that the harness named."""
    os.kill(int(os.environ["AGENT_PID"]), signal.SIGKILL)
    seen["killed"] = True


def main(cases):
    """Runs the case that the command line names. What was seen is printed, also where it fails."""
    try:
        # Several clients begin together: what an interpreter and its packages take to start, and for their first
        # request of all, is not what is measured.
        http().get(f"{ADDRESS}/v1/health")
        print("ready", flush=True)
        sys.stdin.readline()
        cases[sys.argv[1]](*sys.argv[2:])
    except BaseException:
        traceback.print_exc()
        print(json.dumps(seen, indent=1, default=str), file=sys.stderr)
        print(f"the last answer: {Witness.status} {Witness.headers} {times()}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(seen, default=str))
