// What the pages ask for, whatever window they are in. The controller owns every state; nothing here keeps any.

import type { ApiError, Calls, ExportRequestsRequest, GatewayPatch, GatewayView, Imported, ImportKind, ImportProgress, InstalledModel, Neighbours, PictureRequest, Streams, ToolRequest, ToolWritten } from "./types";

export type Command = keyof Calls;
export type StreamCommand = keyof Streams;
export type Payload<K extends Command> = Calls[K][0];
export type Answer<K extends Command> = Calls[K][1];
export type Chunk<K extends StreamCommand> = Streams[K][1];

export interface OpenStream {
  /** Fulfilled when the stream ends or is closed; rejected with an [`ApiError`] when it breaks off. */
  readonly done: Promise<void>;
  close(): void;
}

/**
 * What the page may not do by itself: the desktop asks, outside of what the page can draw, and the page learns what came
 * of it.
 */
export interface Dialogs {
  /** Opens the desktop's file dialog, reads, and says what it would be; null when the person closed it. */
  importFiles(kind: ImportKind): Promise<Imported | null>;
  /** Makes the files chosen last the stack. */
  importWrite(): Promise<Imported | null>;
  /** Shows what the stack would run, in a native dialog; true when confirmed. */
  confirmStack(): Promise<boolean>;
  /** Asks once, natively; null when the person said no. */
  stopNeighbour(id: string, takePlace: boolean): Promise<Neighbours | null>;
  /** Opens the desktop's file dialog and writes the report of readiness; where it is, or null when it was closed. */
  saveReport(): Promise<string | null>;
  /** Has the picture drawn and written where the person says: the file's path, or null when the dialog was closed. */
  savePicture(request: PictureRequest): Promise<string | null>;
  /** Has the gateway listen at another address; asked natively where others would reach it. Null: the person said no. */
  gatewayListen(listen: string): Promise<GatewayView | null>;
  /** Shows natively what would change in a coding tool's own file, and writes it. Null: the person said no. */
  writeTool(request: ToolRequest): Promise<ToolWritten | null>;
  /** Writes the record of requests where the person says: the file's path, or null when the dialog was closed. */
  saveRequests(request: ExportRequestsRequest): Promise<string | null>;
  /** Opens the desktop's file dialog and takes the GGUF file or folder into the cache; null when it was closed. */
  importModel(onProgress: (progress: ImportProgress) => void): Promise<InstalledModel | null>;
  /** Shows an installed model's folder in the file manager. */
  openModelFolder(id: string): Promise<boolean>;
  /** Opens a page of the Hub in the browser, once the person has seen its address natively; false: the person said no. */
  openPage(url: string): Promise<boolean>;
}

export interface Backend {
  call<K extends Command>(cmd: K, payload: Payload<K>): Promise<Answer<K>>;
  stream<K extends StreamCommand>(
    cmd: K,
    payload: Streams[K][0],
    onChunk: (chunk: Chunk<K>) => void,
  ): OpenStream;
  /** Preferences of the window itself: how it looks. What Asgard does is in the controller's settings. */
  preference(key: string): Promise<unknown>;
  setPreference(key: string, value: unknown): Promise<void>;
  readonly dialogs: Dialogs;
}

/** A change of the gateway that changes nothing: what is not null in one is changed. */
export const NO_CHANGE: GatewayPatch = {
  wake: null,
  hold: null,
  queue_limit: null,
  odin_ttl: null,
  odin_cooldown: null,
  session_budget_odin: null,
  session_budget_utility: null,
  health_timeout: null,
  listen: null,
};

/** One message of a stream, as both hosts send it. */
export type StreamMessage<T> = { chunk: T } | { end: null } | { error: ApiError };

export function isApiError(value: unknown): value is ApiError {
  return (
    typeof value === "object" &&
    value !== null &&
    "code" in value &&
    typeof (value as ApiError).message === "string" &&
    typeof (value as ApiError).next === "string"
  );
}

/** Whatever was thrown, as a sentence and a next step. */
export function asApiError(thrown: unknown): ApiError {
  if (isApiError(thrown)) return thrown;
  const detail = thrown instanceof Error ? thrown.message : typeof thrown === "string" ? thrown : "";
  return {
    code: "failed",
    message: detail === "" ? "The window could not do that." : `The window could not do that: ${detail}`,
    next: "Try again; if it stays, close the window and open it again. The agents keep running.",
  };
}

export function unreachable(detail: string): ApiError {
  return {
    code: "unreachable",
    message: detail,
    next: "Start the controller with asgard serve, or open Asgard again. The agents keep running without it.",
  };
}
