// What the played controller remembers and says.

import type { Conversation, Event, Message } from "../types";

const ago = (minutes: number): string => new Date(Date.now() - minutes * 60_000).toISOString();

export const REPLY = `The second profiler counts the first one's allocation as its own. Gate it on Thor's health check, so it starts only after Thor has reserved its memory:

\`\`\`yaml
services:
  thor:
    healthcheck:
      test: ["CMD", "curl", "-sf", "http://localhost:8001/health"]
      retries: 60
  valkyrie:
    depends_on:
      thor: { condition: service_healthy }  # memory is reserved by now
\`\`\`

Two details matter. \`retries\` allows 5 minutes for the first load, and the check must call \`/health\` rather than open the port, because the port answers before the model does. See [the notes](https://example.org/notes).
`;

function told(id: number, role: Message["role"], text: string, minutes: number): Message {
  const asked = role === "user";
  return {
    id,
    role,
    text,
    thinking: asked ? "" : "The drain limit is 60 s, so the queue decides.",
    state: "done",
    time: ago(minutes),
    error: null,
    stats: asked ? null : { tokens: 412, tokens_per_second: 4.8, first_token_seconds: 1.9 },
  };
}

export function conversations(): Conversation[] {
  const talk = (id: number, agent: string, title: string, minutes: number, messages: Message[]): Conversation => ({
    id,
    agent,
    title,
    updated: ago(minutes),
    replying: false,
    messages,
  });
  return [
    talk(1, "valkyrie", "Staggered start for vLLM", 4, [
      told(11, "user", "Both containers still profile memory at the same time, so the coder computes a negative KV cache. Make it wait until Thor is healthy.", 5),
      { ...told(12, "assistant", REPLY, 4), stats: { tokens: 286, tokens_per_second: 31.2, first_token_seconds: 0.42 } },
    ]),
    talk(2, "odin", "Review of the swap policy", 55, [
      told(21, "user", "Review the swap policy in Bifrost. What happens to requests already queued for Valkyrie when you are summoned?", 56),
      told(22, "assistant", "Running requests finish, up to the drain limit of 60 s. Queued requests stay in Bifrost and are sent once Valkyrie is back, in order.\n\nOne risk remains: a request that arrives during the drain is accepted, then waits for the whole time I am awake. Return `503` with `Retry-After` instead, so the client can choose Thor.", 55),
    ]),
    talk(3, "thor", "Plan for the 6.1 release", 150, [
      told(31, "user", "Plan the release.", 151),
      {
        ...told(32, "assistant", "Three tasks can run in par", 150),
        state: "failed",
        stats: null,
        error: { code: "failed", message: "Thor ended in mid-answer.", next: "Try again; its log says why it ended." },
      },
    ]),
    talk(4, "heimdall", "Check compose files", 60 * 26, [
      told(41, "user", "Check the compose files.", 60 * 26),
      { ...told(42, "assistant", "No conflicts on ports 8001", 60 * 26), state: "stopped" },
    ]),
    talk(5, "frigga", "Summary of DECISIONS.md", 60 * 24 * 3, []),
    talk(6, "loki", "What breaks at 120 GB?", 60 * 24 * 12, []),
  ];
}

export function events(): Event[] {
  const event = (minutes: number, agent: string | null, message: string, severity: Event["severity"] = "info"): Event => ({
    time: ago(minutes),
    severity,
    agent,
    message,
  });
  return [
    event(0, "loki", "Loki is loading weights"),
    event(1, null, "Switching from heimdall to loki"),
    event(6, "heimdall", "Heimdall ready in 14 s"),
    event(8, "frigga", "Frigga failed: its KV cache did not fit", "failure"),
    event(31, "odin", "Odin fell asleep after 20 min idle"),
    event(52, "odin", "Odin ready in 88 s"),
    event(54, "valkyrie", "Valkyrie stopped to make room for Odin"),
    event(54, null, "Switched from standard to odin"),
    event(80, null, "Other programs grew by 4.1 GB", "warning"),
    event(90, "thor", "Thor ready in 62 s"),
  ];
}

export const LOG: readonly string[] = [
  "INFO 11-21 14:09:52 [api_server.py:1289] vLLM API server version 0.11.0",
  "INFO 11-21 14:09:53 [model.py:547] Resolved architecture: Qwen2ForCausalLM",
  "WARNING 11-21 14:09:55 [interface.py:219] Using 'pin_memory=False' on this platform",
  "Loading safetensors checkpoint shards:   0% Completed | 0/2 [00:00<?, ?it/s]",
  "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:06<00:06,  6.1s/it]",
  "INFO 11-21 14:10:24 [gpu_worker.py:298] Available KV cache memory: 3.50 GiB",
  "ERROR 11-21 14:10:25 [core.py:708] A line that says what went wrong, for the find field",
  ...Array.from({ length: 60 }, (_, i) => `INFO 11-21 14:10:${String(i).padStart(2, "0")} [loggers.py:127] Engine 000: Avg generation throughput: ${String(20 + (i % 9))}.4 tokens/s, Running: 1 reqs`),
];
