// The window's host. This is the one file that knows Tauri.

import { Channel, invoke } from "@tauri-apps/api/core";
import { asApiError, type Answer, type Backend, type OpenStream, type StreamMessage } from "./backend";
import type { GatewayView, Imported, ImportProgress, InstalledModel, Neighbours, ToolWritten } from "./types";

export function tauriBackend(): Backend {
  return {
    call: (cmd, payload) => invoke<Answer<typeof cmd>>("rpc", { cmd, payload }).catch(rethrow),

    stream: (cmd, payload, onChunk) => {
      let closed = false;
      let id: number | null = null;
      let finish: () => void = () => undefined;
      let fail: (error: unknown) => void = () => undefined;
      const done = new Promise<void>((resolve, reject) => {
        finish = resolve;
        fail = reject;
      });
      const channel = new Channel<StreamMessage<Parameters<typeof onChunk>[0]>>();
      channel.onmessage = (message) => {
        if (closed) return;
        if ("chunk" in message) onChunk(message.chunk);
        else if ("error" in message) fail(message.error);
        else finish();
      };
      const close = (stream: number): void => {
        // The host forgets a stream that has ended by itself, so a refusal here means nothing.
        invoke("close_stream", { id: stream }).catch(() => undefined);
      };
      invoke<number>("open_stream", { cmd, payload, channel }).then(
        (opened) => {
          id = opened;
          if (closed) close(opened);
        },
        (error: unknown) => {
          fail(asApiError(error));
        },
      );
      return {
        done,
        close: () => {
          if (closed) return;
          closed = true;
          if (id !== null) close(id);
          finish();
        },
      } satisfies OpenStream;
    },

    preference: (key) => invoke<unknown>("preference_get", { key }),
    setPreference: async (key, value) => {
      await invoke("preference_set", { key, value });
    },

    dialogs: {
      importFiles: (kind) => invoke<Imported | null>("dialog_import", { kind }).catch(rethrow),
      importWrite: () => invoke<Imported | null>("dialog_import_write").catch(rethrow),
      confirmStack: () => invoke<boolean>("dialog_confirm").catch(rethrow),
      stopNeighbour: (id, takePlace) => invoke<Neighbours | null>("dialog_stop_neighbour", { id, takePlace }).catch(rethrow),
      saveReport: () => invoke<string | null>("dialog_save_report").catch(rethrow),
      savePicture: (request) => invoke<string | null>("dialog_save_picture", { request }).catch(rethrow),
      gatewayListen: (listen) => invoke<GatewayView | null>("dialog_gateway_listen", { listen }).catch(rethrow),
      writeTool: (request) => invoke<ToolWritten | null>("dialog_write_tool", { request }).catch(rethrow),
      saveRequests: (request) => invoke<string | null>("dialog_save_requests", { request }).catch(rethrow),
      importModel: (onProgress) => {
        const told = new Channel<ImportProgress>();
        told.onmessage = onProgress;
        return invoke<InstalledModel | null>("dialog_import_model", { told }).catch(rethrow);
      },
      openModelFolder: (id) => invoke<boolean>("dialog_open_model_folder", { id }).catch(rethrow),
      openPage: (url) => invoke<boolean>("dialog_open_page", { url }).catch(rethrow),
    },
  };
}

function rethrow(thrown: unknown): never {
  throw asApiError(thrown);
}
