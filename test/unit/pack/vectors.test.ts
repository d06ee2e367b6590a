/** The vectors of evidence packs: one that holds, and for each step some that it refuses. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { describe, it } from "mocha";
import { fromHex, parseHash, toHex, utf8Encode } from "../../../src/core/bytes.ts";
import { sha256 } from "../../../src/core/hash.ts";
import { verifyForeign } from "../../../src/core/keys/verify.ts";
import { parsePolicy } from "../../../src/core/merkle/policy.ts";
import type { PackReader } from "../../../src/core/pack/reading.ts";
import { packSteps } from "../../../src/core/pack/steps.ts";
import { verifyPack } from "../../../src/core/pack/verify.ts";
import { packVectorFiles } from "../../../scripts/vectors/files.ts";

type Files = Readonly<Record<string, string>>;
type Trust = { readonly genesis: string | null; readonly policy: string | null };
type Vectors = {
  readonly trust: Trust;
  readonly accept: Files;
  readonly refuse: readonly {
    readonly step: string;
    readonly what: string;
    readonly files: Files;
    readonly trust: Trust;
  }[];
};

const text = readFileSync(new URL("../../vectors/pack.json", import.meta.url), "utf8");
const { trust: trusted, accept, refuse } = JSON.parse(text) as Vectors;

const memoryReader = (files: Files): PackReader => {
  const bytesOf = (name: string): Uint8Array =>
    name === "proof" ? fromHex(files[name] ?? "") : utf8Encode(files[name] ?? "");
  return {
    names: () => Promise.resolve(Object.keys(files)),
    read: async function* (name) {
      const bytes = bytesOf(name);
      for (let from = 0; from < bytes.length; from += 1000) yield bytes.subarray(from, from + 1000);
    },
    digest: (name) => Promise.resolve({ bytes: bytesOf(name).length, sha256: toHex(sha256(bytesOf(name))) }),
  };
};

const failedIn = async (files: Files, { genesis, policy }: Trust): Promise<string> => {
  const trust = {
    genesis: genesis === null ? undefined : parseHash(fromHex(genesis)),
    policy: policy === null ? undefined : parsePolicy(utf8Encode(policy)),
  };
  const { steps } = await verifyPack(memoryReader(files), trust, {
    verify: verifyForeign,
    onProgress: () => {},
  });
  expect(steps.map(({ name }) => name)).to.deep.equal(packSteps);
  const failed = steps.find(({ outcome }) => outcome === "failed");
  return failed === undefined ? "" : `${failed.name}: ${failed.detail}`;
};

describe("the vectors of evidence packs", () => {
  it("are what the code makes", async () => {
    expect(await packVectorFiles()).to.deep.equal({ "pack.json": text });
  });

  it("have a pack that holds, by the genesis hash and by the policy, and by either alone", async () => {
    expect(await failedIn(accept, trusted)).to.equal("");
    expect(await failedIn(accept, { ...trusted, policy: null })).to.equal("");
    expect(await failedIn(accept, { ...trusted, genesis: null })).to.equal("");
  });

  for (const { step, what, files, trust } of refuse) {
    it(`are refused by the step ${step}: ${what}`, async () => {
      expect(await failedIn({ ...accept, ...files }, trust)).to.match(new RegExp(`^${step}: `));
    });
  }

  it("have one for each step", () => {
    const tried = new Set(refuse.map(({ step }) => step));
    expect(packSteps.filter((step) => !tried.has(step))).to.deep.equal([]);
  });
});
