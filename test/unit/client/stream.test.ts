/** Streams as async iterables: every answer, backpressure both ways, and clean ends. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { status as Code } from "@grpc/grpc-js";
import { connect, SigilError, StreamChecksResponse } from "@sigil/client";
import { OpenQuestions } from "../../../clients/typescript/src/open-questions.ts";
import { settle, startServer } from "./server.ts";

const questions = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ correlationId: String(index), check: { action: "read" } }));

describe("streamChecks", () => {
  it("yields an answer to each question of a plain list", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    const ids: string[] = [];
    for await (const { correlationId, outcome } of sigil.trust.streamChecks(questions(500))) {
      expect(outcome?.$case).to.equal("decision");
      ids.push(correlationId);
    }
    expect(ids).to.deep.equal(questions(500).map(({ correlationId }) => correlationId));
  });

  it("asks while it is answered, and sends its token", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure", signer: { token: () => "t" } });
    const answered: string[] = [];
    const oneByOne = async function* () {
      for (let index = 0; index < 3; index += 1) {
        yield { correlationId: String(index), check: { action: "read" } };
        while (answered.length <= index) await settle(1);
      }
    };
    for await (const { correlationId } of sigil.trust.streamChecks(oneByOne())) answered.push(correlationId);
    expect(answered).to.deep.equal(["0", "1", "2"]);
    expect(server.seen.metadata[0]?.get("authorization")).to.deep.equal(["Bearer t"]);
  });

  it("takes questions no faster than the answers are taken", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    let taken = 0;
    const large = "x".repeat(100_000);
    const endless = async function* () {
      for (;;) {
        taken += 1;
        yield { correlationId: "c", check: { action: large } };
      }
    };
    const answers = sigil.trust.streamChecks(endless());
    await answers.next();
    await settle(100);
    const takenEarly = taken;
    await settle(100);
    expect(taken).to.equal(takenEarly);
    expect(taken).to.be.lessThan(400);
    await answers.return();
  });

  it("cancels the call and its source when the loop is left", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    let closed = false;
    const endless = async function* () {
      try {
        for (;;) yield { correlationId: "c", check: { action: "read" } };
      } finally {
        closed = true;
      }
    };
    for await (const _ of sigil.trust.streamChecks(endless())) break;
    await settle();
    expect(closed).to.equal(true);
    expect(server.seen.cancelled).to.equal(1);
  });

  it("throws the source's own error, and cancels the call", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    const broken = async function* () {
      yield { correlationId: "c", check: { action: "read" } };
      while (server.seen.streamed === 0) await settle(1);
      throw new RangeError("source");
    };
    let thrown: unknown;
    try {
      for await (const _ of sigil.trust.streamChecks(broken()));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).to.be.instanceOf(RangeError);
    await settle();
    expect(server.seen.cancelled).to.equal(1);
  });

  const endOf = async (stream: AsyncIterable<StreamChecksResponse>): Promise<SigilError> => {
    try {
      for await (const _ of stream);
    } catch (error) {
      if (error instanceof SigilError) return error;
      throw error;
    }
    throw new Error("expected a SigilError");
  };

  const waiting = async function* () {
    yield { correlationId: "c", check: { action: "read" } };
    await new Promise(() => {});
  };

  it("throws the server's status, even while its source waits", async () => {
    await using server = await startServer({
      streamChecks: (call) => {
        call.emit("error", { code: Code.UNAUTHENTICATED, details: "no" });
      },
    });
    using sigil = connect({ target: server.target, tls: "insecure" });
    expect((await endOf(sigil.trust.streamChecks(waiting()))).codeName).to.equal("UNAUTHENTICATED");
  });

  it("ends by its signal and by its deadline", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    const controller = new AbortController();
    const stream = sigil.trust.streamChecks(waiting(), { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    expect((await endOf(stream)).codeName).to.equal("CANCELLED");
    const timed = sigil.trust.streamChecks(waiting(), { deadlineMs: 30 });
    expect((await endOf(timed)).codeName).to.equal("DEADLINE_EXCEEDED");
  });

  it("lets who waits for room among the open questions go on: with an answer, and with the end of the call", async () => {
    const open = new OpenQuestions();
    const question = { correlationId: "1" };
    for (let asked = 0; asked < 65_536; asked += 1) await open.ask(question);
    let gone = 0;
    const goOn = (): void => void (gone += 1);
    const [one, two] = [open.ask(question).then(goOn), open.ask(question).then(goOn)];
    await settle(1);
    expect(gone).to.equal(0);
    await open.answer(StreamChecksResponse.fromPartial(question));
    await Promise.race([one, two]);
    await settle(1);
    expect(gone).to.equal(1);
    open.close();
    await Promise.all([one, two]);
  });
});
