/** Frames: whatever pieces they come in, and nothing that is none. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { concatBytes, u64be, utf8Encode } from "../../../src/core/bytes.ts";
import { SigilFault } from "../../../src/errors.ts";
import { backupKeyBytesMax, backupValueBytesMax } from "../../../src/limits.ts";
import {
  fileKey,
  formatFrame,
  BackupFrameReader,
  isBackedUpPath,
  pathOf,
} from "../../../src/deployment/backup/frames.ts";

const read = (pieces: readonly Uint8Array[]) => {
  const reader = new BackupFrameReader();
  const frames = pieces.flatMap((piece) => [...reader.push(piece)]);
  return { frames, isWhole: reader.isWhole };
};

describe("frames", () => {
  it("come back from any pieces", () => {
    const entry = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.uint8Array({ maxLength: 300 }));
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), fc.integer({ min: 1, max: 97 }), (entries, step) => {
        const bytes = concatBytes(...entries.map(([key, value]) => formatFrame(key, value)));
        const pieces: Uint8Array[] = [];
        for (let at = 0; at < bytes.length; at += step) pieces.push(bytes.slice(at, at + step));
        const { frames, isWhole } = read(pieces);
        expect(isWhole).to.equal(true);
        expect(frames.map(({ key, value }) => [key, value])).to.deep.equal(entries);
        expect(concatBytes(...frames.map((frame) => frame.bytes))).to.deep.equal(bytes);
      }),
    );
  });

  it("are not whole while a byte is missing", () => {
    const bytes = formatFrame(Uint8Array.of(0x72), u64be(1n));
    for (let length = 1; length < bytes.length; length += 1) {
      expect(read([bytes.slice(0, length)])).to.deep.equal({ frames: [], isWhole: false });
    }
  });

  it("refuse lengths that nothing has", () => {
    const long = formatFrame(new Uint8Array(backupKeyBytesMax + 1), u64be(0n));
    expect(() => read([long])).to.throw(SigilFault);
    expect(() => read([formatFrame(new Uint8Array(0), u64be(0n))])).to.throw(SigilFault);
    const value = Uint8Array.of(0, 1, 0x72, 0, 0, 0, 0);
    new DataView(value.buffer).setUint32(3, backupValueBytesMax + 1);
    expect(() => read([value])).to.throw(SigilFault);
  });

  it("name files of a deployment alone", () => {
    for (const path of ["deployment.json", "keys/record-1.json", "keys/data/acme-1.json"]) {
      expect(pathOf(fileKey(path))).to.equal(path);
    }
    expect(pathOf(utf8Encode("r12345678"))).to.equal(undefined);
    const strange = [
      "",
      "kek",
      "keys",
      "keys/",
      "keys/../kek",
      "keys/..",
      "/etc/passwd",
      "keys//a",
      "keys/.hidden",
    ];
    for (const path of [...strange, "../deployment.json", "keys/a\0b", "ledger/LOCK", "keys/a/b/c/d/e"]) {
      expect(isBackedUpPath(path), path).to.equal(false);
      expect(() => pathOf(fileKey(path)), path).to.throw(SigilFault);
    }
  });
});
