/**
 * Streams over HTTP, by plain fetch: every line, the last one, and what becomes of one that is not read, resumed or
 * ended.
 */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { httpAs, httpConfig, problem, urlOf, type Ask, type Seen } from "./http-caller.ts";

type Line = Readonly<Partial<Record<"result" | "error" | "end", Seen>>>;
type Event = { readonly id: string | undefined; readonly data: Line };

/** Lines as they come; the reader may stop. */
async function* linesOf(response: Response): AsyncGenerator<string, void, undefined> {
  let rest = "";
  const reader = (response.body ?? expect.fail("no body")).pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop() ?? "";
      yield* lines;
    }
  } finally {
    await reader.cancel();
  }
  expect(rest).to.equal("");
}

async function* parsed(response: Response): AsyncGenerator<Line, void, undefined> {
  for await (const line of linesOf(response)) yield JSON.parse(line) as Line;
}

async function* eventsOf(response: Response): AsyncGenerator<Event, void, undefined> {
  let id: string | undefined;
  for await (const line of linesOf(response)) {
    if (line.startsWith("id: ")) id = line.slice(4);
    else if (line.startsWith("data: ")) yield { id, data: JSON.parse(line.slice(6)) as Line };
    else {
      expect(line).to.equal("");
      id = undefined;
    }
  }
}

const all = async <One>(some: AsyncIterable<One>): Promise<readonly One[]> => {
  const found: One[] = [];
  for await (const one of some) found.push(one);
  return found;
};

const next = async <One>(some: AsyncIterator<One>): Promise<One> => {
  const { value, done } = await some.next();
  return done === true ? expect.fail("the stream has ended") : value;
};

describe("streams over HTTP", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let operator: Ask;

  const open = async (
    target: string,
    headers: Readonly<Record<string, string>> = {},
    from = served,
  ): Promise<Response> => {
    const authorization = `Bearer ${await deployment.signer("operator").token()}`;
    return fetch(urlOf(from) + target, { headers: { authorization, ...headers } });
  };
  const write = async (id: string): Promise<void> => {
    const { status } = await operator("POST", "/canon/user/write", {
      id,
      kind: "note",
      payload: { text: id },
    });
    expect(status).to.equal(200);
  };

  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve({ config: { ...httpConfig, streams_per_caller_max: 2 } });
    operator = httpAs(deployment, served)("operator");
    for (let count = 0; count < 5; count += 1) await write(`notes/${count}`);
  });

  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  it("give every record in a line of its own, and a line at the end", async () => {
    const response = await open("/canon/user:stream?filter.id_prefix=notes/");
    expect(response.headers.get("content-type")).to.equal("application/x-ndjson");
    const lines = [...(await all(parsed(response)))];
    expect(lines.pop()).to.deep.equal({ end: {} });
    const texts = lines.map(
      ({ result }) => JSON.parse(result?.record.record.payloadJson ?? "null") as unknown,
    );
    expect(texts).to.deep.equal([0, 1, 2, 3, 4].map((count) => ({ text: `notes/${count}` })));
  });

  it("come in the form that is asked for, and in no other", async () => {
    const none = "/canon/user:stream?filter.id_prefix=none/";
    const types = {
      "*/*": "application/x-ndjson",
      "text/event-stream": "text/event-stream",
      "application/x-ndjson;q=1, text/event-stream": "application/x-ndjson",
      "text/html, text/event-stream": "text/event-stream",
    };
    for (const [accept, type] of Object.entries(types)) {
      const response = await open(none, { accept });
      expect(response.headers.get("content-type"), accept).to.equal(type);
      const text = await response.text();
      expect(text).to.equal(type === "text/event-stream" ? 'data: {"end":{}}\n\n' : '{"end":{}}\n');
    }
    const other = await operator("GET", none, undefined, { accept: "application/json" });
    expect(problem(other)).to.deep.equal([406, "NOT_ACCEPTABLE"]);
  });

  it("say what is wrong as any answer does, while nothing has been sent", async () => {
    const guest = httpAs(deployment, served)("guest");
    expect(problem(await guest("GET", "/canon/user:watch"))).to.deep.equal([403, "LEVEL_TOO_LOW"]);
    expect(problem(await operator("GET", "/canon/user:watch?heartbeat_seconds=301"))).to.deep.equal([
      400,
      "INVALID_FIELD",
    ]);
    const odd = await operator("GET", "/canon/user:watch", undefined, { "last-event-id": "x" });
    expect(problem(odd)).to.deep.equal([400, "INVALID_FIELD"]);
  });

  it("of a watch go on where the last event says, and miss nothing", async () => {
    const target = "/canon/user:watch?filter.id_prefix=watched/";
    const accept = { accept: "text/event-stream" };
    const first = eventsOf(await open(target, accept));
    expect((await next(first)).data.result).to.have.property("heartbeat");
    await write("watched/1");
    let seen = await next(first);
    while (seen.data.result?.record === undefined) seen = await next(first);
    expect(seen.id).to.match(/^\d+$/).and.to.equal(seen.data.result.nextPosition);
    await first.return();
    await write("watched/2");
    await write("watched/3");
    const again = eventsOf(await open(target, { ...accept, "last-event-id": seen.id ?? "" }));
    const ids: string[] = [];
    while (ids.length < 2) {
      const { record } = (await next(again)).data.result ?? expect.fail("no result");
      if (record !== undefined) ids.push(JSON.parse(record.record.payloadJson).text as string);
    }
    await again.return();
    expect(ids).to.deep.equal(["watched/2", "watched/3"]);
  });

  it("are so many of one caller, and make place when their caller leaves", async () => {
    const watches = [await open("/canon/user:watch"), await open("/canon/user:watch")];
    expect(problem(await operator("GET", "/canon/user:watch"))).to.deep.equal([429, "STREAMS_PER_CALLER"]);
    for (const watch of watches) await watch.body?.cancel();
    let status = 429;
    for (let turn = 0; turn < 500 && status === 429; turn += 1) {
      const response = await open("/canon/user:watch");
      ({ status } = response);
      await response.body?.cancel();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(status).to.equal(200);
    expect(served.logged()).to.match(/CanonService\/Watch[^\n]*"code":"CANCELLED"/);
  });

  it("end at their caller's time, with a line that says so", async () => {
    const lines = await all(parsed(await open("/canon/user:watch", { "sigil-timeout-ms": "300" })));
    expect(lines.length).to.be.at.least(2);
    expect(lines.at(-1)?.error).to.include({ status: 504, reason: "DEADLINE_EXCEEDED" });
  });

  it("give a module's output as it comes, and its result last", async () => {
    const run = { inputJson: JSON.stringify({ name: "stream" }) };
    const authorization = `Bearer ${await deployment.signer("operator").token()}`;
    const response = await fetch(`${urlOf(served)}/module/hello/stream`, {
      method: "POST",
      body: JSON.stringify(run),
      headers: { authorization, "content-type": "application/json" },
    });
    const lines = await all(parsed(response));
    expect(lines.at(-1), JSON.stringify(lines)).to.deep.equal({ end: {} });
    expect(lines.at(-2)?.result).to.have.property("result");
  });

  it("end with an error when the server stops", async () => {
    await served[Symbol.asyncDispose]();
    served = await deployment.serve({ config: httpConfig });
    const watch = parsed(await open("/canon/user:watch"));
    await next(watch);
    const closing = served.server.close();
    const rest = await all(watch);
    expect(rest.at(-1)?.error).to.include({ status: 503, reason: "NOT_SERVING" });
    await closing;
  });
});
