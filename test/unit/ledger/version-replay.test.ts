/** A replay that remembers few ids gives what one gives that remembers all, and sees what follows nothing. */
import { sha256 } from "@sigil/core/hash";
import { expect } from "chai";
import { describe, it } from "mocha";
import { equalBytes, type Hash } from "../../../src/core/bytes.ts";
import type { StoreOp } from "../../../src/storage/store.ts";
import { openMemoryStore } from "../../../src/storage/memory.ts";
import { BlindTags } from "../../../src/ledger/layout/indexes.ts";
import {
  recallIndexed,
  recallWritten,
  Replay,
  type Recall,
} from "../../../src/ledger/walk/version-replay.ts";
import type { WalkedRecord } from "../../../src/ledger/walk/walk.ts";
import { utf8Encode } from "../../../src/core/bytes.ts";
import { userBody } from "../../contract/memory-ledger.ts";

const hashAt = (position: number): Hash => sha256(utf8Encode(String(position)));

/** Record by record its id, and the position of the record that it says it follows. */
type Told = readonly (readonly [id: string, follows: number | null])[];

const walked = (told: Told): readonly WalkedRecord[] =>
  told.map(([id, follows], position) => ({
    position: BigInt(position),
    body: userBody(id, position, { prev: follows === null ? null : hashAt(follows) }),
    hash: hashAt(position),
    attestations: [],
    keyVersion: 1,
  }));

const tags = (): BlindTags => new BlindTags(async () => new Uint8Array(32));

const replay = async (
  told: Told,
  heldMax: number,
  recall: Recall,
  write?: (ops: readonly StoreOp[]) => Promise<void>,
) => {
  const stale: bigint[] = [];
  const replayed = new Replay(tags(), { recall, onStale: (position) => stale.push(position), heldMax });
  const all: StoreOp[] = [];
  for (const record of walked(told)) {
    const ops = await replayed.ops(record);
    all.push(...ops);
    await write?.(ops);
    replayed.trim();
  }
  return { stale, all };
};

const nothing: Recall = async () => undefined;

const sound: Told = [
  ["a", null],
  ["b", null],
  ["a", 0],
  ["ab", null],
  ["b", 1],
  ["a", 2],
  ["ab", 3],
];
const faulty: readonly (readonly [name: string, told: Told, stale: readonly bigint[]])[] = [
  [
    "a second first version",
    [
      ["a", null],
      ["b", null],
      ["a", null],
    ],
    [2n],
  ],
  [
    "one that follows an older version",
    [
      ["a", null],
      ["b", null],
      ["a", 0],
      ["a", 0],
    ],
    [3n],
  ],
  [
    "one that follows another id's",
    [
      ["a", null],
      ["b", null],
      ["b", 0],
    ],
    [2n],
  ],
  [
    "one that follows nothing there is",
    [
      ["a", null],
      ["b", 7],
    ],
    [1n],
  ],
];

describe("a replay of versions", () => {
  it("gives the same entries however few ids it remembers", async () => {
    const { all } = await replay(sound, 100, nothing);
    for (const heldMax of [0, 1, 2]) {
      const written = await openMemoryStore();
      const write = (ops: readonly StoreOp[]): Promise<void> => written.commit(ops);
      const rebuilt = await replay(sound, heldMax, recallWritten(written), write);
      expect(rebuilt).to.deep.equal({ stale: [], all });
      const recall = recallIndexed(written, async (position) => hashAt(Number(position)));
      expect(await replay(sound, heldMax, recall)).to.deep.equal({ stale: [], all });
    }
  });

  for (const [name, told, stale] of faulty) {
    it(`names ${name}, remembered or not`, async () => {
      expect((await replay(told, 100, nothing)).stale).to.deep.equal(stale);
      const written = await openMemoryStore();
      const write = (ops: readonly StoreOp[]): Promise<void> => written.commit(ops);
      expect((await replay(told, 0, recallWritten(written), write)).stale).to.deep.equal(stale);
    });

    it(`holds ${name} against the index of a sound ledger`, async () => {
      // The index has a place a version: whatever two records claim, one of them does not find itself there.
      const store = await openMemoryStore();
      const { all } = await replay(told, 100, nothing);
      await store.commit(all);
      const forgetful = await replay(
        told,
        0,
        recallIndexed(store, async (position) => hashAt(Number(position))),
      );
      const versions = forgetful.all.filter(({ key }) => String.fromCharCode(key[0] ?? 0) === "v");
      let isDiffering = forgetful.stale.length > 0;
      for (const op of versions) {
        const entry = await store.get(op.key);
        if (entry === undefined || op.kind !== "put" || !equalBytes(entry, op.value)) isDiffering = true;
      }
      expect(isDiffering).to.equal(true);
    });
  }
});
