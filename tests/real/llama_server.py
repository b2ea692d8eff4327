"""A real llama.cpp server behind llama-server's own command line.

The Python package xllamacpp carries llama.cpp as a library. This gives its server the flags that Asgard's llama.cpp
backend writes, so that the journey runs a real model through the same launch as any other.
"""

import argparse
import os
import signal
import sys
import threading

import xllamacpp


def main() -> int:
    if sys.argv[1:2] == ["llama-server"]:
        del sys.argv[1]
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ctx-size", type=int, default=0)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--ubatch-size", type=int, default=512)
    parser.add_argument("--cache-ram", type=int, default=0)
    parser.add_argument("--n-gpu-layers", "-ngl", default="0")
    parser.add_argument("--device", default="none")
    parser.add_argument("--load-mode", default="none")
    parser.add_argument("--flash-attn", default="auto")
    for switch in ("--jinja", "--metrics", "--slots"):
        parser.add_argument(switch, action="store_true")
    args = parser.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = args.model
    params.n_batch = args.batch_size
    params.n_ubatch = args.ubatch_size
    params.model_alias = {args.alias}
    params.hostnames = [args.host]
    params.port = args.port
    params.n_ctx = args.ctx_size
    params.n_parallel = args.parallel
    params.cache_ram_mib = args.cache_ram
    params.endpoint_metrics = args.metrics
    params.endpoint_slots = args.slots
    key = os.environ.get("LLAMA_API_KEY")
    if key:
        params.api_keys = [key]

    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    server = xllamacpp.Server(params)
    print(f"llama_server: listening on {server.listening_address}", flush=True)
    done.wait()
    # The library's own shutdown may wait for a slot; what was asked for is an end.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
