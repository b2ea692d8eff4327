// How the pieces of a reply change the messages on the screen.

import type { Message, ReplyChunk } from "../backend/types";

/** The user's message before the controller has kept it; its id can be no kept message's. */
export function unsent(text: string, time: Date): Message {
  return {
    id: -1,
    role: "user",
    text,
    thinking: "",
    state: "done",
    time: time.toISOString(),
    error: null,
    stats: null,
  };
}

/** Asking again replaces the last reply; the old one goes when the new one begins. */
export function withoutLastReply(messages: Message[]): Message[] {
  return messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages;
}

export function applyChunk(messages: Message[], chunk: ReplyChunk): Message[] {
  switch (chunk.kind) {
    case "started":
    case "done":
      return put(messages, chunk.message);
    case "text":
      return change(messages, (m) => ({ ...m, text: m.text + chunk.text }));
    case "thinking":
      return change(messages, (m) => ({ ...m, thinking: m.thinking + chunk.text }));
    default:
      // A newer controller may send more; it is shown when the conversation is next fetched.
      return messages;
  }
}

/** Replaces the message of that id, or stands at the end. */
function put(messages: Message[], message: Message): Message[] {
  const at = messages.findIndex((m) => m.id === message.id);
  return at === -1 ? [...messages, message] : messages.with(at, message);
}

function change(messages: Message[], edit: (m: Message) => Message): Message[] {
  const at = messages.findLastIndex((m) => m.role === "assistant" && m.state === "streaming");
  const old = messages[at];
  return old === undefined ? messages : messages.with(at, edit(old));
}
