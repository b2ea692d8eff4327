// The npm package `openai` against Bifrost. One case a run: openai.mjs CASE [MODEL].
import { address, agents, breaks, check, fails, key, kill, last, load, main, note, now, witness } from "./seen.mjs";

const { default: OpenAI } = await load("openai");
const options = { baseURL: `${address}/v1`, apiKey: key, maxRetries: 0 };
const client = new OpenAI({ ...options, fetch: witness });
// As the package comes: an error of the server's side is asked again, twice, after half a second and more.
const patient = new OpenAI({ ...options, maxRetries: 2, fetch: witness });

const weather = {
    type: "object",
    properties: { city: { type: "string", enum: ["Paris", "Rome"] }, days: { type: "integer" } },
    required: ["city", "days"],
    additionalProperties: false,
};
const chatTool = { type: "function", function: { name: "get_weather", parameters: weather } };
const responsesTool = { type: "function", name: "get_weather", parameters: weather, strict: true };
const call = 'Look it up. [[call get_weather {"city": "Rome", "days": 3}]]';
const wanted = JSON.stringify({ city: "Rome", days: 3 });
const same = (text) => JSON.stringify(JSON.parse(text)) === wanted;
const user = (text) => [{ role: "user", content: text }];

// The stand-in says who it is, so an answer of another agent is seen.
function greets(text, model) {
    check(text?.startsWith(`${model[0].toUpperCase()}${model.slice(1)} here.`), model, text);
}

async function models() {
    const listed = [];
    for await (const model of client.models.list()) listed.push(model.id);
    check(agents.every((name, at) => listed[at] === name), listed);
}

async function whole(model, by = client) {
    const answer = await by.chat.completions.create({ model, messages: user("Hi"), max_tokens: 40 });
    greets(answer.choices[0].message.content, model);
    check(answer.choices[0].finish_reason === "length" && answer.usage.completion_tokens === 40, answer);
}

async function streamed(model, by = client) {
    const stream = await by.chat.completions.create({
        model, messages: user("Hi"), max_tokens: 40, stream: true, stream_options: { include_usage: true },
    });
    let words = "", finish, usage;
    for await (const chunk of stream) {
        words += chunk.choices[0]?.delta?.content ?? "";
        finish = chunk.choices[0]?.finish_reason ?? finish;
        usage = chunk.usage ?? usage;
    }
    greets(words, model);
    check(finish === "length" && usage?.completion_tokens === 40, finish, usage);
}

async function streamedByHelper(model) {
    const stream = client.chat.completions.stream({ model, messages: user("Hi"), max_tokens: 400 });
    let pieces = 0;
    stream.on("content", () => pieces++);
    const done = await stream.finalChatCompletion();
    greets(done.choices[0].message.content, model);
    check(done.choices[0].finish_reason === "stop" && pieces > 10, pieces);
}

async function tools(model) {
    const asked = user(call);
    const answer = await client.chat.completions.create({ model, messages: asked, tools: [chatTool] });
    const [made] = answer.choices[0].message.tool_calls;
    check(answer.choices[0].finish_reason === "tool_calls" && made.function.name === "get_weather", answer);
    check(same(made.function.arguments), made);
    const result = { role: "tool", tool_call_id: made.id, content: "Sunny, 24 degrees." };
    const told = [...asked, answer.choices[0].message, result];
    const end = await client.chat.completions.create({ model, messages: told, tools: [chatTool] });
    check(end.choices[0].message.content.includes("Sunny, 24 degrees."), end);
    const stream = client.chat.completions.stream({ model, messages: asked, tools: [chatTool] });
    const [streamed] = (await stream.finalChatCompletion()).choices[0].message.tool_calls;
    check(streamed.function.name === "get_weather" && same(streamed.function.arguments), streamed);
    // The package runs the tool itself and asks again.
    let given;
    const runner = client.chat.completions.runTools({
        model, messages: asked, stream: true,
        tools: [{ type: "function", function: {
            name: "get_weather", description: "", parameters: weather, parse: JSON.parse,
            function: (arguments_) => { given = arguments_; return "Rain, 9 degrees."; },
        } }],
    });
    const words = await runner.finalContent();
    check(JSON.stringify(given) === wanted && words.includes("Rain, 9 degrees."), given, words);
}

async function responses(model, by = client) {
    const answer = await by.responses.create({ model, input: "Hi" });
    greets(answer.output_text, model);
    check(answer.status === "completed", answer);
}

async function streamedResponses(model) {
    const kinds = [];
    let words = "", end;
    for await (const event of await client.responses.create({ model, input: "Hi", stream: true })) {
        kinds.push(event.type);
        if (event.type === "response.output_text.delta") words += event.delta;
        end = event;
    }
    greets(words, model);
    check(end.type === "response.completed", kinds);
    const done = await client.responses.stream({ model, input: "Hi" }).finalResponse();
    check(done.output_text === words, done);
}

async function toolsOfResponses(model) {
    const asked = user(call);
    const answer = await client.responses.create({ model, input: asked, tools: [responsesTool] });
    const made = answer.output.find((item) => item.type === "function_call");
    check(made.name === "get_weather" && same(made.arguments), made);
    const told = [
        ...asked,
        { type: "function_call", call_id: made.call_id, name: made.name, arguments: made.arguments },
        { type: "function_call_output", call_id: made.call_id, output: "Sunny, 24 degrees." },
    ];
    const end = await client.responses.create({ model, input: told, tools: [responsesTool] });
    check(end.output_text.includes("Sunny, 24 degrees."), end);
    const done = await client.responses.stream({ model, input: asked, tools: [responsesTool] }).finalResponse();
    check(same(done.output.find((item) => item.type === "function_call").arguments), done);
}

// After a request that had to wait: head and first byte at once, and life all the time.
function lived() {
    note("times", { ...last });
    check(last.head < 1 && last.first < 1 && last.silence < 5, last);
}

await main({
    async awake(model = "thor") {
        await models();
        await whole(model);
        await streamed(model);
        await streamedByHelper(model);
        await tools(model);
        await responses(model);
        await streamedResponses(model);
        await toolsOfResponses(model);
        const error = await fails(OpenAI.NotFoundError, () => whole("hel"));
        check(error.message.includes("thor") && error.message.includes("odin"), error.message);
    },

    async asleep_stream(model, seconds) {
        const began = now();
        await streamed(model);
        lived();
        check(now() - began >= Number(seconds), "it was awake");
    },

    async asleep_responses(model, seconds) {
        const began = now();
        const kinds = [];
        const stream = client.responses.stream({ model, input: "Hi" });
        stream.on("event", (event) => kinds.push(event.type));
        greets((await stream.finalResponse()).output_text, model);
        note("kinds", [...new Set(kinds)]);
        lived();
        check(kinds[0] === "response.created" && now() - began >= Number(seconds), kinds);
    },

    async asleep_whole(model, seconds) {
        const began = now();
        await whole(model);
        check(now() - began >= Number(seconds), "it was awake");
    },

    // `second` is asked for while `first` answers a long stream.
    async queued(first, second) {
        let pieces = 0, finish, ended, begun;
        const five = new Promise((done) => (begun = done));
        const long = (async () => {
            const stream = await new OpenAI(options).chat.completions.create({
                model: first, messages: user("Tell a long story."), max_tokens: 150, stream: true,
            });
            for await (const chunk of stream) {
                if (chunk.choices[0]?.delta?.content && ++pieces === 5) begun();
                finish = chunk.choices[0]?.finish_reason ?? finish;
            }
            ended = now();
        })();
        await Promise.race([five, long]);
        await streamed(second);
        const done = now();
        lived();
        await long;
        check(finish === "length" && pieces === 150, finish, pieces);
        check(ended < done, "the long answer was finished before the swap");
    },

    // The agent dies under a stream: an error, never a good end; and the next request restarts it.
    async killed(model) {
        await breaks(OpenAI.APIError, async () => {
            const stream = await client.chat.completions.create({
                model, messages: user("Tell a long story."), max_tokens: 400, stream: true,
            });
            let pieces = 0;
            for await (const _ of stream) if (++pieces === 10) kill();
            return pieces;
        });
        await streamed(model, patient);
    },

    async killed_responses(model) {
        await breaks(Error, async () => {
            const stream = client.responses.stream({ model, input: "Tell a long story." });
            let pieces = 0;
            stream.on("event", () => ++pieces === 12 && kill());
            const done = await stream.finalResponse();
            if (done.status === "failed") throw new Error(done.error?.message);
            return done;
        });
        await responses(model, patient);
    },

    async killed_whole(model) {
        const error = await breaks(OpenAI.APIError, () => {
            setTimeout(kill, 1000);
            return client.chat.completions.create({ model, messages: user("Tell a long story."), max_tokens: 400 });
        });
        check(error.status >= 500, error);
        await whole(model, patient);
    },

    async wrong_key(model = "thor") {
        for (const ask of [models, () => whole(model), () => streamed(model), () => responses(model)]) {
            const error = await fails(OpenAI.AuthenticationError, ask);
            check(error.status === 401 && !error.message.includes(key), error);
        }
    },

    async right_key(model, forbidden) {
        await streamed(model);
        const error = await fails(OpenAI.PermissionDeniedError, () => whole(forbidden));
        check(error.message, error);
    },
});
