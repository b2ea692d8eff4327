// The npm package `@anthropic-ai/sdk` against Bifrost's /v1/messages. One case a run: anthropic.mjs CASE [MODEL].
import { address, breaks, check, fails, key, kill, last, load, main, note, now, witness } from "./seen.mjs";

const { default: Anthropic } = await load("@anthropic-ai/sdk");
const options = { baseURL: address, apiKey: key, fetch: witness };
const client = new Anthropic({ ...options, maxRetries: 0 });
// As the package comes: an error of the server's side is asked again, twice, after half a second and more.
const patient = new Anthropic(options);

const weather = {
    name: "get_weather",
    input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const call = 'Look it up. [[call get_weather {"city": "Rome"}]]';
const user = (text) => [{ role: "user", content: text }];

function greets(text, model) {
    check(text?.startsWith(`${model[0].toUpperCase()}${model.slice(1)} here.`), model, text);
}

async function whole(model) {
    const answer = await client.messages.create({ model, max_tokens: 40, messages: user("Hi") });
    greets(answer.content[0].text, model);
    check(answer.stop_reason === "max_tokens" && answer.usage.output_tokens === 40, answer);
}

async function streamed(model, by = client) {
    const kinds = [];
    let words = "";
    const stream = await by.messages.create({ model, max_tokens: 40, messages: user("Hi"), stream: true });
    for await (const event of stream) {
        kinds.push(event.type);
        if (event.type === "content_block_delta") words += event.delta.text;
    }
    greets(words, model);
    check(kinds.filter((kind) => kind === "message_start").length === 1, kinds);
    check(kinds.at(-1) === "message_stop", kinds);
}

async function streamedByHelper(model) {
    const stream = client.messages.stream({ model, max_tokens: 40, messages: user("Hi") });
    let words = "";
    stream.on("text", (text) => (words += text));
    const done = await stream.finalMessage();
    greets(words, model);
    check(done.content[0].text === words && done.stop_reason === "max_tokens", done);
}

async function tools(model) {
    const asked = { model, max_tokens: 400, messages: user(call), tools: [weather] };
    const answer = await client.messages.create(asked);
    const [made] = answer.content;
    check(answer.stop_reason === "tool_use" && made.name === "get_weather" && made.input.city === "Rome", answer);
    const result = { type: "tool_result", tool_use_id: made.id, content: "Sunny, 24 degrees." };
    const told = [...asked.messages, { role: "assistant", content: answer.content }, { role: "user", content: [result] }];
    const end = await client.messages.create({ ...asked, messages: told });
    check(end.content[0].text.includes("Sunny, 24 degrees."), end);
    const done = await client.messages.stream(asked).finalMessage();
    check(done.stop_reason === "tool_use" && done.content[0].input.city === "Rome", done);
}

await main({
    async awake(model = "thor") {
        await whole(model);
        await streamed(model);
        await streamedByHelper(model);
        await tools(model);
        const counted = await client.messages.countTokens({ model, messages: user("Hi") });
        check(counted.input_tokens > 0, counted);
        await fails(Anthropic.NotFoundError, () => whole("hel"));
    },

    async asleep_stream(model, seconds) {
        const began = now();
        await streamedByHelper(model);
        note("times", { ...last });
        check(last.head < 1 && last.first < 1 && last.silence < 5, last);
        check(now() - began >= Number(seconds), "it was awake");
    },

    async asleep_whole(model, seconds) {
        const began = now();
        await whole(model);
        check(now() - began >= Number(seconds), "it was awake");
    },

    async killed(model) {
        await breaks(Error, async () => {
            const stream = client.messages.stream({ model, max_tokens: 400, messages: user("Tell a long story.") });
            let pieces = 0;
            stream.on("streamEvent", () => ++pieces === 12 && kill());
            return stream.finalMessage();
        });
        await streamed(model, patient);
    },

    async wrong_key(model = "thor") {
        for (const ask of [whole, streamed]) {
            const error = await fails(Anthropic.AuthenticationError, () => ask(model));
            check(error.status === 401 && !error.message.includes(key), error);
        }
    },

    async right_key(model, forbidden) {
        await streamed(model);
        await fails(Anthropic.PermissionDeniedError, () => whole(forbidden));
    },
});
