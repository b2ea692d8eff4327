// The loopback host of the browser tests: the same requests over HTTP, with the token of the page's address.

import { NO_CHANGE, asApiError, isApiError, unreachable, type Backend, type StreamMessage } from "./backend";
import type { ApiError } from "./types";

const GONE = "The page's host did not answer.";
const NO_FILES: ApiError = {
  code: "usage",
  message: "A page in a browser opens no file dialog.",
  next: "Use asgard import, or the window.",
};

export function webBackend(token: string): Backend {
  const post = async (path: string, body: unknown, signal?: AbortSignal): Promise<Response> => {
    const response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
    if (response.ok) return response;
    const error: unknown = await response.json().catch(() => null);
    throw asError(isApiError(error) ? error : unreachable(`The page's host answered ${String(response.status)}.`));
  };

  const call: Backend["call"] = async (cmd, payload) => {
    try {
      return (await (await post("/rpc", { cmd, payload })).json()) as never;
    } catch (thrown) {
      throw failure(thrown);
    }
  };

  return {
    call,

    // There is no desktop here that could ask. What the host refuses stays refused, and it says so itself.
    dialogs: {
      importFiles: () => Promise.reject(asError(NO_FILES)),
      importWrite: () => Promise.reject(asError(NO_FILES)),
      confirmStack: async () => {
        const { needed, hash } = await call("confirmation", {});
        if (needed) await call("confirm_stack", { hash });
        return true;
      },
      stopNeighbour: (id, takePlace) => call("stop_neighbour", { id, take_place: takePlace }),
      savePicture: () => Promise.reject(asError({ ...NO_FILES, next: "Use asgard status --plot FILE, or the window." })),
      gatewayListen: (listen) => call("change_gateway", { ...NO_CHANGE, listen }),
      writeTool: () => Promise.reject(asError({ ...NO_FILES, next: "Use asgard export, or the window." })),
      saveRequests: () => Promise.reject(asError({ ...NO_FILES, next: "Use the window." })),
      importModel: () => Promise.reject(asError({ ...NO_FILES, next: "Use asgard models import, or the window." })),
      openModelFolder: () => Promise.reject(asError({ ...NO_FILES, message: "A page in a browser opens no file manager.", next: "Use the window." })),
      openPage: () => Promise.reject(asError({ ...NO_FILES, message: "A page in a browser opens no other page.", next: "Use the window." })),
      saveReport: () => Promise.reject(asError({ ...NO_FILES, next: "Use asgard doctor --report FILE, or the window." })),
    },

    stream: (cmd, payload, onChunk) => {
      const abort = new AbortController();
      const read = async (): Promise<void> => {
        const response = await post("/stream", { cmd, payload }, abort.signal);
        if (response.body === null) throw asError(unreachable(GONE));
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
          const { done, value } = await reader.read();
          if (done) throw asError(unreachable("The stream broke off."));
          const lines = (rest + value).split("\n");
          rest = lines.pop() ?? "";
          for (const line of lines) {
            if (line.trim() === "") continue;
            const message = JSON.parse(line) as StreamMessage<Parameters<typeof onChunk>[0]>;
            if ("chunk" in message) onChunk(message.chunk);
            else if ("error" in message) throw asError(message.error);
            else return;
          }
        }
      };
      const done = read().catch((thrown: unknown) => {
        if (!abort.signal.aborted) throw failure(thrown);
      });
      return {
        done,
        close: () => {
          abort.abort();
        },
      };
    },

    // A browser test has no preferences but its own page's.
    preference: (key) => {
      const kept = localStorage.getItem(`asgard.${key}`);
      return Promise.resolve(kept === null ? null : (JSON.parse(kept) as unknown));
    },
    setPreference: (key, value) => {
      localStorage.setItem(`asgard.${key}`, JSON.stringify(value));
      return Promise.resolve();
    },
  };
}

/** Throws carry the same data as in the other host. */
function asError(error: unknown): Error {
  return error as Error;
}

function failure(thrown: unknown): Error {
  // fetch itself throws a TypeError when nobody listens.
  return asError(thrown instanceof TypeError ? unreachable(GONE) : asApiError(thrown));
}
