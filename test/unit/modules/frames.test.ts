/** Frames between the server and a sandbox process: whole again however the pipe cuts them. */
import { expect } from "chai";
import { describe, it } from "mocha";
import fc from "fast-check";
import { concatBytes } from "../../../src/core/bytes.ts";
import {
  encodeFrame,
  FrameReader,
  messageParts,
  readMessage,
} from "../../../src/modules/sandbox/protocol.ts";

const bytesMax = 1000;

describe("frames", () => {
  it("come out as they went in, whatever pieces they arrive in", () => {
    const frame = fc.record({
      kind: fc.integer({ min: 0, max: 255 }),
      body: fc.uint8Array({ maxLength: 300 }),
    });
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 400 })),
        (frames, cuts) => {
          const stream = concatBytes(...frames.flatMap(({ kind, body }) => encodeFrame(kind, body)));
          const reader = new FrameReader(bytesMax);
          const found: { readonly kind: number; readonly body: Uint8Array }[] = [];
          let at = 0;
          for (const cut of [...cuts, stream.length]) {
            found.push(...reader.push(stream.subarray(at, at + cut)));
            at += cut;
          }
          expect(found.map(({ kind, body }) => [kind, [...body]])).to.deep.equal(
            frames.map(({ kind, body }) => [kind, [...body]]),
          );
        },
      ),
    );
  });

  it("longer than they may be, or of no length, are refused at their head", () => {
    expect(() => new FrameReader(bytesMax).push(Uint8Array.of(0, 0, 3, 0xe9, 1))).to.throw(
      "says it has 1001 bytes",
    );
    expect(() => new FrameReader(bytesMax).push(Uint8Array.of(0, 0, 0, 0, 1))).to.throw(
      "says it has 0 bytes",
    );
    expect(() => new FrameReader(bytesMax).push(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1))).to.throw(
      "4294967295",
    );
  });

  it("carry a header and bytes, and nothing else passes for them", () => {
    const { header, rest } = readMessage(concatBytes(...messageParts({ a: "ü" }, Uint8Array.of(1, 2))));
    expect([header, [...rest]]).to.deep.equal([{ a: "ü" }, [1, 2]]);
    for (const body of [[], [0, 0, 0], [0, 0, 0, 9, 1], [0, 0, 0, 1, 0x7b], [0, 0, 0, 1, 0xff]]) {
      expect(() => readMessage(Uint8Array.from(body))).to.throw();
    }
  });
});
