/** The lines of a stream as they leave: one at a time, as fast as they are read, with one end. */
import { Writable } from "node:stream";
import { Metadata, status as Code, type ServiceError } from "@grpc/grpc-js";
import { expect } from "chai";
import { describe, it } from "mocha";
import { HttpLine, type HttpRequest } from "../../../src/gateway/http/call.ts";
import { framingFor } from "../../../src/gateway/http/framing.ts";
import { HttpStreamCall } from "../../../src/gateway/http/stream.ts";

/** Takes a line when it is told to. */
class Reader extends Writable {
  readonly lines: string[] = [];
  readonly waiting: (() => void)[] = [];
  readonly writeHead = (): void => {};

  override _write(chunk: Buffer, _encoding: string, taken: () => void): void {
    this.lines.push(chunk.toString());
    this.waiting.push(taken);
  }

  take(): Promise<void> {
    this.waiting.shift()?.();
    return new Promise((resolve) => setImmediate(resolve));
  }
}

const failure = (code: number): ServiceError =>
  Object.assign(new Error("failed"), { code, details: "failed", metadata: new Metadata() });

const opened = () => {
  const reader = new Reader({ highWaterMark: 1 });
  const request = { socket: {}, httpVersionMajor: 1 } as unknown as HttpRequest;
  const line = new HttpLine(request, reader);
  const refusals: number[] = [];
  const call = new HttpStreamCall<unknown>(request, reader, {
    line,
    metadata: new Metadata(),
    deadlineMs: Infinity,
    message: undefined,
    framing: framingFor([]) ?? expect.fail("no framing"),
    begin: reader.writeHead,
    encode: (message) => ({
      json: JSON.stringify(message ?? expect.fail("cannot be written")),
      id: undefined,
    }),
    problem: ({ code }) => JSON.stringify({ code }),
    refuse: ({ code }) => void refusals.push(code),
    broken: () => failure(Code.INTERNAL),
  });
  return { reader, line, call, refusals };
};

describe("a stream's lines", () => {
  it("call for the next when they have been taken, and not before", async () => {
    const { reader, call } = opened();
    let written = 0;
    call.write(1, () => (written += 1));
    await new Promise((resolve) => setImmediate(resolve));
    expect([written, reader.lines]).to.deep.equal([0, ['{"result":1}\n']]);
    await reader.take();
    expect(written).to.equal(1);
  });

  it("call for nothing twice, and hold up nobody, when their reader leaves", async () => {
    const { reader, call, line } = opened();
    let written = 0;
    call.write(1, () => (written += 1));
    reader.destroy();
    await new Promise((resolve) => setImmediate(resolve));
    expect([written, line.isAnswered]).to.deep.equal([1, true]);
    call.write(2, () => (written += 1));
    expect([written, reader.lines.length, line.sentCode]).to.deep.equal([2, 1, undefined]);
  });

  it("end once: with a line that says so, or with the error", async () => {
    const whole = opened();
    whole.call.end(new Metadata());
    expect(whole.call.emit("error", failure(Code.UNAVAILABLE))).to.equal(false);
    expect([whole.reader.lines, whole.line.sentCode]).to.deep.equal([['{"end":{}}\n'], Code.OK]);
    const broken = opened();
    broken.call.write(1, () => {});
    broken.call.emit("error", failure(Code.UNAVAILABLE));
    await broken.reader.take();
    expect(broken.reader.lines).to.deep.equal(['{"result":1}\n', `{"error":{"code":${Code.UNAVAILABLE}}}\n`]);
    expect(broken.line.sentCode).to.equal(Code.UNAVAILABLE);
  });

  it("are none for an error before the first, which is an answer", () => {
    const { reader, call, refusals, line } = opened();
    call.emit("error", failure(Code.PERMISSION_DENIED));
    expect([reader.lines, refusals, line.sentCode]).to.deep.equal([
      [],
      [Code.PERMISSION_DENIED],
      Code.PERMISSION_DENIED,
    ]);
  });

  it("end with an error at a message that cannot be written", async () => {
    const { reader, call, line } = opened();
    call.write(1, () => {});
    await reader.take();
    let written = 0;
    call.write(undefined, () => (written += 1));
    expect(reader.lines.at(-1)).to.equal(`{"error":{"code":${Code.INTERNAL}}}\n`);
    expect([written, line.sentCode]).to.deep.equal([1, Code.INTERNAL]);
  });
});
