/** An inspection sees what the ledger's own signatures cannot show: a system record that no quorum approved. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { QuorumInspection } from "../../src/canon/proposals/quorum-inspection.ts";
import { describeDeployment } from "../../src/deployment/open.ts";
import { runFsck, type FsckReport } from "../../src/ledger/fsck/fsck.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import type { RecordBody } from "../../src/core/record/record.ts";
import { Council, modelWith, newKey, rawKey } from "./council.ts";
import { origin } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";

const inspect = async (directory: string): Promise<FsckReport> => {
  const kekInputs = { env: {}, askPassphrase: () => Promise.reject(new Error("no passphrase")) };
  const quorum = new QuorumInspection(origin);
  return runFsck(await describeDeployment({ directory, kekInputs, nowMs: Date.now }), {
    inspectGroup: (group) => quorum.inspect(group),
  });
};

/** Model, registry and key changed as they should be. */
const govern = async (council: Council): Promise<void> => {
  const model = await council.propose({ id: "trust_model/active", content: modelWith({ bias: 0.9 }) });
  for (const witness of ["ann", "ben"]) await council.attest(model, witness);
  const key = newKey();
  council.keys.set("dan", key);
  const { proposal } = await council.as("mentor").witness.proposeWitnessChange({
    change: { $case: "add", value: { id: "dan", publicKey: rawKey(key), owner: "Dan", k: 3 } },
  });
  if (proposal === undefined) throw new Error("the answer has no proposal");
  for (const witness of ["ann", "dan", "ben"]) await council.attest(proposal, witness);
  const stricter = await council.propose({ id: "trust_model/active", content: modelWith({ bias: 0.8 }) });
  await council.attest(stricter, "cyd");
  await council.attest(stricter, "ann");
  await council.attest(stricter, "ben");
};

type Forge = (ledger: Ledger, council: Council) => Promise<void>;

const readId = async (ledger: Ledger, id: string) => {
  const record = await ledger.reader.readId("system", "system", id);
  if (record === undefined) throw new Error(`there is no ${id}`);
  return record;
};

const suspend = async (ledger: Ledger, id: string, prev: RecordBody["prev"]) => {
  const { body } = await readId(ledger, "trust_model/active");
  const payload = { reason: "none", by: "root" };
  const [made] = await ledger.append([{ ...body, kind: "suspension", id, payload, links: [], prev }]);
  return made?.hash ?? null;
};

/** What an operator could write with the deployment's own key in hand. */
const forgeries: readonly (readonly [name: string, id: string, version: bigint, forge: Forge])[] = [
  [
    "a model without any approval",
    "trust_model/active",
    3n,
    async (ledger) => {
      const { body, hash } = await readId(ledger, "trust_model/active");
      await ledger.append([{ ...body, prev: hash }]);
    },
  ],
  [
    "a model with the approvals of another",
    "trust_model/active",
    3n,
    async (ledger) => {
      const { body, hash, attestations } = await readId(ledger, "trust_model/active");
      await ledger.append([{ ...body, ts: body.ts + 1, prev: hash }], { attestations: [attestations] });
    },
  ],
  [
    "a witness that no change of the registry names",
    "witness/eve",
    1n,
    async (ledger) => {
      const { body } = await readId(ledger, "witness/ann");
      await ledger.append([{ ...body, id: "witness/eve", prev: null }]);
    },
  ],
  [
    "a witness in the commit of a registry change that does not name it",
    "witness/eve",
    1n,
    async (ledger, council) => {
      const { body } = await readId(ledger, "witness/ann");
      const forged = { ...body, id: "witness/eve", prev: null };
      const append = ledger.append.bind(ledger);
      ledger.append = (bodies, options) =>
        append(
          bodies.flatMap((each) => (each.kind === "quorum" ? [each, forged] : [each])),
          options,
        );
      await council.approve(await council.proposeChange({ $case: "quorum", value: { k: 3 } }), "ann", "ben");
    },
  ],
  [
    "a registry with a k of its own",
    "quorum",
    2n,
    async (ledger) => {
      const { body, hash } = await readId(ledger, "quorum");
      const payload = { ...(body.payload as object), k: 1 };
      await ledger.append([{ ...body, payload, prev: hash }]);
    },
  ],
  [
    "the end of a suspension that nobody approved",
    "suspension/principal/operator",
    2n,
    async (ledger) => {
      const prev = await suspend(ledger, "suspension/principal/operator", null);
      const { body } = await readId(ledger, "suspension/principal/operator");
      await ledger.append([{ ...body, kind: "tombstone", payload: { kind: "suspension" }, prev }]);
    },
  ],
  [
    "a suspension in the place of the trust model",
    "trust_model/active",
    3n,
    async (ledger) => {
      const { hash } = await readId(ledger, "trust_model/active");
      await suspend(ledger, "trust_model/active", hash);
    },
  ],
];

describe("an inspection of the quorum", function () {
  this.slow(3000);

  it("finds nothing where every change had its quorum, through changes of the registry", async () => {
    await using council = await Council.open();
    await govern(council);
    await council.served[Symbol.asyncDispose]();
    const { ok, problems } = await inspect(council.deployment.directory);
    expect(problems).to.deep.equal([]);
    expect(ok).to.equal(true);
  });

  for (const [name, id, version, forge] of forgeries) {
    it(`names the position of ${name}, though the deployment's own key signed it, and so does its reader`, async () => {
      await using council = await Council.open();
      const model = await council.propose({ id: "trust_model/active", content: modelWith({ bias: 0.9 }) });
      for (const witness of ["ann", "ben"]) await council.attest(model, witness);
      const { ledger } = council.served.server;
      await forge(ledger, council);
      const { position } = await readId(ledger, id);
      const refused = await refusalOf(council.as("observer").canon.getSystemRecord({ id, version }));
      expect(refused.codeName, refused.message).to.equal("DATA_LOSS");
      expect(refused.facts).to.include({ position: String(position), step: "quorum" });
      await council.served[Symbol.asyncDispose]();
      const { problems } = await inspect(council.deployment.directory);
      expect(problems).to.have.length(1);
      expect(problems[0]).to.include({ position, step: "quorum" });
    });
  }
});
