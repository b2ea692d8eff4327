// What the scripts in JavaScript share: the one address, a clock, and a witness of the bytes as they came.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

export const address = process.env.BIFROST; // http://127.0.0.1:PORT
export const key = process.env.BIFROST_KEY ?? "any";
export const agents = ["thor", "valkyrie", "odin", "heimdall", "loki", "frigga"];
// No byte for so long, and the client gives up.
const read = Number(process.env.CLIENT_READ_SECONDS ?? 60) * 1000;

// The packages are installed beside the build, not beside these scripts.
const installed = createRequire(process.env.CLIENTS_PACKAGES + "/");
export const load = (name) => import(pathToFileURL(installed.resolve(name)).href);

export const seen = {};
export const note = (name, value) => (seen[name] = value);
export const now = () => performance.now() / 1000;

/// Of the last answer: when its head came, when its first byte came, and the longest silence in it; in seconds.
export const last = { status: null, head: null, first: null, silence: 0 };

/// `fetch` as a client with a read time-out would have it: no byte for too long is an error.
export async function witness(url, options) {
    const began = now();
    Object.assign(last, { status: null, head: null, first: null, silence: 0 });
    const answer = await within(fetch(url, options));
    last.status = answer.status;
    last.head = now() - began;
    if (!answer.body) return answer;
    const reader = answer.body.getReader();
    let before = began;
    const body = new ReadableStream({
        async pull(controller) {
            const { done, value } = await within(reader.read());
            if (done) return controller.close();
            last.first ??= now() - began;
            last.silence = Math.max(last.silence, now() - before);
            before = now();
            controller.enqueue(value);
        },
        cancel: (reason) => reader.cancel(reason),
    });
    return new Response(body, answer);
}

async function within(promise) {
    let timer;
    const late = new Promise((_, fail) => {
        timer = setTimeout(() => fail(new Error(`no byte for ${read / 1000} s`)), read);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export function check(truth, ...what) {
    if (!truth) throw new Error(`not so: ${JSON.stringify(what)}`);
}

/// `ask` must throw an error of this kind, which is handed back.
export async function fails(kind, ask) {
    let ended;
    try {
        ended = await ask();
    } catch (error) {
        note("error", `${error.constructor.name}: ${error.message}`);
        if (!(error instanceof kind)) throw error;
        return error;
    }
    throw new Error(`this came to a good end: ${JSON.stringify(ended)}`);
}

/// As `fails`, of an ask in which the agent is killed.
export async function breaks(kind, ask) {
    const error = await fails(kind, ask);
    check(seen.killed, "it failed before the agent was killed");
    return error;
}

/// `kill -9` of the one process that the harness named.
export function kill() {
    process.kill(Number(process.env.AGENT_PID), "SIGKILL");
    seen.killed = true;
}

/// Runs the case that the command line names. What was seen is printed, also where it fails.
export async function main(cases) {
    const [name, ...rest] = process.argv.slice(2);
    try {
        // Several clients begin together: what an interpreter and its packages take to start, and for their first
        // request of all, is not what is measured.
        await (await witness(`${address}/v1/health`)).text();
        console.log("ready");
        await new Promise((go) => process.stdin.once("data", go).once("end", go));
        await cases[name](...rest);
        console.log(JSON.stringify(seen));
        process.exit(0);
    } catch (error) {
        console.error(error);
        console.error(JSON.stringify(seen, null, 1), "the last answer:", last);
        process.exit(1);
    }
}
