/** Bodies of requests: too slow, too long, gone, and what becomes of the room that a long one took. */
import { once } from "node:events";
import { createServer, request as httpRequest, type ClientRequest, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { readBody, type Body, type BodyBounds } from "../../../src/gateway/http/body.ts";
import { Refused } from "../../../src/gateway/http/problem.ts";
import { SigilFault } from "../../../src/errors.ts";
import { intakeFreeBytes } from "../../../src/limits.ts";
import { ByteBudget } from "../../../src/rpc/bounds/byte-budget.ts";

const long = intakeFreeBytes + 1;
const forEver = 2 ** 30;
const holder = {};

const newBudget = (): ByteBudget =>
  new ByteBudget({
    bytesMax: long,
    bytesPerHolderMax: long,
    waitersMax: 4,
    refuse: () => new Error("too many wait"),
  });

/** Whether there is room for a whole long body again. */
const isFree = async (budget: ByteBudget): Promise<boolean> => {
  try {
    (await budget.take({}, long, AbortSignal.timeout(20))).release();
    return true;
  } catch {
    return false;
  }
};

describe("the body of a request", () => {
  const server = createServer();

  before(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });

  after(() => {
    server.closeAllConnections();
    server.close();
  });

  const begin = async (
    headers: Readonly<Record<string, string>>,
  ): Promise<[ClientRequest, IncomingMessage]> => {
    const { port } = server.address() as AddressInfo;
    const sent = httpRequest({ host: "127.0.0.1", port, method: "POST", headers });
    sent.on("error", () => {});
    sent.flushHeaders();
    const [received] = (await once(server, "request")) as [IncomingMessage];
    return [sent, received];
  };

  const outcomeOf = (body: Promise<Body>): Promise<Body | Refused | SigilFault> =>
    body.catch((error: unknown) => {
      if (error instanceof Refused || error instanceof SigilFault) return error;
      throw error;
    });

  const bounds = (budget: ByteBudget, msMax: number): BodyBounds => ({
    bytesMax: long,
    msMax,
    intake: { budget },
    connection: holder,
  });

  it("is refused when it takes too long, short or long, and gives its room back", async () => {
    const shapes = [
      { "content-length": "10" },
      { "content-length": String(long) },
      { "transfer-encoding": "chunked" },
    ];
    for (const headers of shapes) {
      const budget = newBudget();
      const [sent, received] = await begin(headers);
      sent.write("x");
      const outcome = await outcomeOf(readBody(received, bounds(budget, 5)));
      expect(outcome, JSON.stringify(headers)).to.be.instanceOf(Refused);
      expect(outcome).to.include({ reason: "BODY_TOO_SLOW", message: "a body must come within 5 ms" });
      expect(await isFree(budget), JSON.stringify(headers)).to.equal(true);
      sent.destroy();
    }
  });

  it("waits for room no longer than it may take, and leaves the line", async () => {
    const budget = newBudget();
    const taken = await budget.take({}, long, new AbortController().signal);
    const [sent, received] = await begin({ "content-length": String(long) });
    expect(await outcomeOf(readBody(received, bounds(budget, 5)))).to.include({ reason: "BODY_TOO_SLOW" });
    taken.release();
    expect(await isFree(budget)).to.equal(true);
    sent.destroy();
  });

  it("is refused when it is longer than it may be, whether it said so or not", async () => {
    const said = await begin({ "content-length": String(long + 1) });
    expect(await outcomeOf(readBody(said[1], bounds(newBudget(), forEver)))).to.include({
      reason: "BODY_TOO_LARGE",
    });
    const budget = newBudget();
    const [sent, received] = await begin({ "transfer-encoding": "chunked" });
    sent.end(Buffer.alloc(long + 1));
    expect(await outcomeOf(readBody(received, bounds(budget, forEver)))).to.include({
      reason: "BODY_TOO_LARGE",
    });
    expect(await isFree(budget)).to.equal(true);
    for (const each of [said[0], sent]) each.destroy();
  });

  it("of a sender that has gone is cancelled, and gives its room back", async () => {
    const budget = newBudget();
    const [sent, received] = await begin({ "content-length": String(long) });
    const outcome = outcomeOf(readBody(received, bounds(budget, forEver)));
    sent.destroy();
    const fault = await outcome;
    expect(fault).to.be.instanceOf(SigilFault);
    expect((fault as SigilFault).error.kind).to.equal("cancelled");
    expect(await isFree(budget)).to.equal(true);
  });

  it("keeps of a long one the room of what came, until it is answered", async () => {
    const budget = newBudget();
    const [sent, received] = await begin({ "transfer-encoding": "chunked" });
    sent.end(Buffer.alloc(long, "a"));
    const body = await readBody(received, bounds(budget, forEver));
    expect(body.text.length).to.equal(long);
    expect(await isFree(budget)).to.equal(false);
    body.release();
    expect(await isFree(budget)).to.equal(true);
  });
});
