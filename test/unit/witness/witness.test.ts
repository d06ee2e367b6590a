/** A witness by the table of C2SP tlog-witness, over HTTP: every status, and nothing cosigned that contradicts. */
import { generateKeyPairSync } from "node:crypto";
import { request } from "node:http";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { toHex, utf8Encode, type Hash } from "../../../src/core/bytes.ts";
import { sha256 } from "../../../src/core/hash.ts";
import { verifyForeign } from "../../../src/core/keys/verify.ts";
import { formatAddCheckpoint, parseAddCheckpoint } from "../../../src/core/merkle/add-checkpoint.ts";
import { signCheckpoint } from "../../../src/core/merkle/checkpoint.ts";
import { verifyCosignature } from "../../../src/core/merkle/cosignature.ts";
import { formatNote, parseNote } from "../../../src/core/merkle/note.ts";
import { createSigner } from "../../../src/crypto/signing/sign.ts";
import { createMemoryBacking, openMemoryStore } from "../../../src/storage/memory.ts";
import type { Store } from "../../../src/storage/store.ts";
import { serveWitness, type WitnessServer } from "../../../src/witness/server.ts";
import { Witness } from "../../../src/witness/witness.ts";
import { naiveConsistency, naiveRoot, sampleEntries } from "../merkle/naive-tree.ts";

const newSigner = () => createSigner(generateKeyPairSync("ed25519").privateKey);
const [origin, other] = ["log.example/main", "log.example/other"];
const [log, otherLog, stranger, own] = [newSigner(), newSigner(), newSigner(), newSigner()];
const name = "witness.example/w1";
const trusted = { name, publicKey: own.publicKey, verify: verifyForeign };
const quiet = { info: () => {}, warn: () => {}, error: () => {} };

const rootOf = (size: number): Hash => naiveRoot(sampleEntries(size));
/** Of a tree with another past. */
const forkedRoot = (size: number): Hash =>
  naiveRoot([utf8Encode("another"), ...sampleEntries(size).slice(1)]);

type Submitted = {
  readonly old?: number;
  readonly size: number;
  readonly root?: Hash;
  readonly proof?: readonly Hash[];
  readonly of?: string;
  readonly by?: typeof log;
};
const bodyOf = async ({ old = 0, size, root, proof, of = origin, by = log }: Submitted): Promise<string> =>
  formatAddCheckpoint({
    oldSize: BigInt(old),
    proof: proof ?? (old > 0 && old <= size ? naiveConsistency(old, sampleEntries(size)) : []),
    checkpoint: await signCheckpoint({ origin: of, size: BigInt(size), root: root ?? rootOf(size) }, by),
  });

describe("a witness", () => {
  const backing = { now: createMemoryBacking() };
  let store: Store;
  let server: WitnessServer;
  let seconds = 1_700_000_000n;

  const witnessOver = (over: Store): Witness =>
    new Witness({
      name,
      signer: own,
      logs: [
        { origin, publicKey: log.publicKey },
        { origin: other, publicKey: otherLog.publicKey },
      ],
      store: over,
      nowSeconds: () => (seconds += 1n),
    });
  const start = async (over: Store = store): Promise<void> => {
    server = await serveWitness({ witness: witnessOver(over), host: "127.0.0.1", port: 0, log: quiet });
  };

  beforeEach(async () => {
    backing.now = createMemoryBacking();
    store = await openMemoryStore(backing.now);
    await start();
  });
  afterEach(async () => {
    await server.close();
    await store.close();
  });

  const post = async (body: string | Uint8Array): Promise<readonly [number, string, string]> => {
    const answer = await fetch(`${server.url}/add-checkpoint`, { method: "POST", body });
    return [answer.status, answer.headers.get("content-type") ?? "", await answer.text()];
  };
  const submit = async (what: Submitted) => post(await bodyOf(what));
  const pathOf = (of: string): string => `/${toHex(sha256(utf8Encode(of)))}/checkpoint`;
  const monitored = async (of = origin): Promise<Response> => fetch(`${server.url}${pathOf(of)}`);

  it("cosigns the first checkpoint and each that begins with the last, with its time", async () => {
    for (const [old, size] of [
      [0, 3],
      [3, 3],
      [3, 8],
      [8, 21],
    ] as const) {
      const body = await bodyOf({ old, size });
      const [status, , lines] = await post(body);
      expect(status, lines).to.equal(200);
      const { text, signatures } = parseNote(parseAddCheckpoint(body).checkpoint);
      const cosigned = parseNote(`${text}\n${lines}`);
      expect(cosigned.signatures).to.have.length(1);
      expect(await verifyCosignature(cosigned, trusted)).to.equal(seconds);
      const kept = await (await monitored()).text();
      expect(kept).to.equal(formatNote({ text, signatures: [...signatures, ...cosigned.signatures] }));
    }
  });

  it("answers a wrong old size with the size that it knows", async () => {
    expect(await submit({ old: 3, size: 8 })).to.deep.equal([409, "text/x.tlog.size", "0\n"]);
    await submit({ size: 5 });
    for (const what of [{ size: 8 }, { old: 4, size: 8 }, { size: 3 }, { old: 3, size: 3 }]) {
      expect(await submit(what)).to.deep.equal([409, "text/x.tlog.size", "5\n"]);
    }
    expect((await submit({ old: 5, size: 8 }))[0]).to.equal(200);
  });

  it("never cosigns a tree that contradicts: another root, another past, a wrong proof", async () => {
    await submit({ size: 5 });
    const before = await (await monitored()).text();
    const proof = naiveConsistency(5, sampleEntries(8));
    for (const [what, rule] of [
      [{ old: 5, size: 5, root: forkedRoot(5) }, /another root was cosigned/],
      [{ old: 5, size: 8, root: forkedRoot(8) }, /new root/],
      [{ old: 5, size: 8, proof: proof.slice(1) }, /exactly/],
      [{ old: 5, size: 8, proof: [...proof, ...proof] }, /exactly/],
      [{ old: 5, size: 5, proof }, /exactly/],
    ] as const) {
      const [status, , text] = await submit(what);
      expect([status, text]).to.satisfy(([code, said]: [number, string]) => code === 422 && rule.test(said));
    }
    expect((await submit({ size: 3, of: other, by: otherLog, proof }))[0]).to.equal(422);
    expect(await (await monitored()).text()).to.equal(before);
  });

  it("refuses a log that it does not know, one without a true signature, and what does not parse", async () => {
    expect((await submit({ size: 3, of: "log.example/unknown" }))[0]).to.equal(404);
    expect((await submit({ size: 3, by: stranger }))[0]).to.equal(403);
    expect((await submit({ size: 3, of: other }))[0]).to.equal(403);
    expect((await submit({ old: 9, size: 8 }))[0]).to.equal(400);
    const good = await bodyOf({ size: 3 });
    const hash = "A".repeat(43);
    for (const body of [
      "",
      good.slice(4),
      good.replace("old 0", "old 00"),
      good.replace("old 0", "old -1"),
      good.replace("old 0", `old ${2n ** 64n}`),
      good.replace("old 0\n", `old 0\n${`${hash}=\n`.repeat(64)}`),
      good.replace("old 0\n", "old 0\nAAAA\n"),
      good.replace("old 0\n\n", "old 0\n"),
      good.slice(0, -10),
      new Uint8Array([0x6f, 0xff]),
    ]) {
      expect((await post(body))[0], String(body)).to.equal(400);
    }
    expect((await monitored()).status).to.equal(404);
  });

  it("bounds a body and has its methods and paths", async () => {
    expect((await post("x".repeat(600_000)))[0]).to.equal(413);
    expect((await fetch(`${server.url}/add-checkpoint`)).status).to.equal(405);
    expect((await fetch(`${server.url}/healthz`, { method: "POST" })).status).to.equal(405);
    expect(await (await fetch(`${server.url}/healthz`)).text()).to.equal("ok\n");
    expect((await fetch(`${server.url}${pathOf("unknown")}`)).status).to.equal(404);
    expect((await fetch(`${server.url}/nothing`)).status).to.equal(404);
    await submit({ size: 3 });
    const head = await fetch(`${server.url}${pathOf(origin)}`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-type")]).to.deep.equal([200, "text/plain; charset=utf-8"]);
  });

  it("lets one of many submissions from one size through, and tells the others where it is", async () => {
    await submit({ size: 2 });
    await server.close();
    // Each has read what was cosigned last before any of them writes, unless they take turns.
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    const slow: Store = {
      ...store,
      get: async (key, options) => {
        const value = await store.get(key, options);
        for (let turns = 0; turns < 50; turns += 1) await turn();
        return value;
      },
      commit: (batch) => store.commit(batch),
    };
    await start(slow);
    const sizes = Array.from({ length: 12 }, (_, index) => index + 3);
    const answers = await Promise.all(sizes.map((size) => submit({ old: 2, size })));
    const won = answers.flatMap(([status], index) => (status === 200 ? [sizes[index]] : []));
    expect(won).to.have.length(1);
    for (const [status, , text] of answers)
      if (status !== 200) expect([status, text]).to.deep.equal([409, `${won[0]}\n`]);
  });

  it("answers nothing that is not on disk, and knows after a restart what is", async () => {
    await submit({ size: 4 });
    await server.close();
    let fails = true;
    const failing: Store = {
      ...store,
      get: (key, options) => store.get(key, options),
      commit: async (batch) => (fails ? Promise.reject(new Error("the disk is full")) : store.commit(batch)),
    };
    await start(failing);
    const [status, , text] = await submit({ old: 4, size: 9 });
    expect([status, text]).to.deep.equal([500, "the witness could not answer; nothing was cosigned\n"]);
    expect(await (await monitored()).text()).to.include("\n4\n");
    fails = false;
    expect((await submit({ old: 4, size: 9 }))[0]).to.equal(200);
    await server.close();
    await store.close();
    store = await openMemoryStore(backing.now);
    await start();
    expect(await submit({ old: 4, size: 10 })).to.deep.equal([409, "text/x.tlog.size", "9\n"]);
  });

  it("ends a request that does not come", async () => {
    const asked = request(`${server.url}/add-checkpoint`, {
      method: "POST",
      headers: { "content-length": 10 },
    });
    asked.write("old");
    const ended = new Promise((resolve) => asked.once("error", resolve).once("close", resolve));
    asked.destroy();
    await ended;
    expect((await submit({ size: 3 }))[0]).to.equal(200);
  });
});
