/** Proofs as a stranger asks for them: of any record, in a tree of any size, verified from the genesis hash alone. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { KeyRole, walkKeys, type SigilConnection } from "@sigil/client";
import { fromHex } from "../../src/core/bytes.ts";
import { checkConsistency, checkInclusion, formatTlogProof } from "../../src/core/merkle/index.ts";
import { entryOf } from "../../src/core/record/record.ts";
import { makeDeployment, type Deployment } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";

const genesisOf = async ({ directory }: Deployment): Promise<Uint8Array> => {
  const text = await readFile(join(directory, "deployment.json"), "utf8");
  return fromHex((JSON.parse(text) as { readonly genesis: string }).genesis);
};

const action = "write";
const decide = async (sigil: SigilConnection, count: number): Promise<readonly string[]> => {
  const checks = Array.from({ length: count }, (_, index) => ({ action, target: `user/notes/${index}` }));
  const { results } = await sigil.trust.batchCheck({ checks });
  return results.map(({ outcome }) => (outcome?.$case === "decision" ? outcome.value.auditId : ""));
};

const fieldOf = async (call: Promise<unknown>): Promise<string> => {
  const { codeName, fieldViolations } = await refusalOf(call);
  return [codeName, ...fieldViolations.map(({ field }) => field)].join(" ");
};

describe("proofs", () => {
  it("lead a stranger from any record to any later tree, and from any tree to any later one", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const [guest, operator] = [served.as("guest"), served.as("operator")];
    for (const count of [3, 1, 5]) await decide(operator, count);
    const walk = await walkKeys(guest, await genesisOf(deployment));
    const { size: newest } = await guest.audit.getCheckpoint({});
    const roots = new Map<bigint, Uint8Array>();
    for (let size = 1n; size <= newest; size += 1n) {
      const { checkpoint, root, size: said } = await guest.audit.getCheckpoint({ size });
      expect(said).to.equal(size);
      expect((await walk.verifyCheckpoint(checkpoint)).root).to.deep.equal(root);
      roots.set(size, root);
    }
    for (const [treeSize, root] of roots) {
      for (let leafIndex = 0n; leafIndex < treeSize; leafIndex += 1n) {
        const found = await guest.audit.getInclusionProof({ position: leafIndex, size: treeSize });
        const { leafHash, inclusionProof: proof } = found;
        expect([found.ledgerPosition, found.size]).to.deep.equal([leafIndex, treeSize]);
        expect(checkInclusion({ leafIndex, treeSize, leafHash, root, proof }).kind).to.equal("ok");
      }
      for (const [newSize, newRoot] of roots) {
        if (newSize < treeSize) continue;
        const found = await guest.audit.getConsistencyProof({ oldSize: treeSize, newSize });
        expect(found.newSize).to.equal(newSize);
        const claim = { oldSize: treeSize, newSize, oldRoot: root, newRoot, proof: found.consistencyProof };
        expect(checkConsistency(claim).kind).to.equal("ok");
        expect((await walk.verifyCheckpoint(found.checkpoint)).size).to.equal(newSize);
      }
    }
  });

  it("by audit id or hash are those by position, for whoever may see the record", async () => {
    await using deployment = await makeDeployment({ otherTenants: ["globex"] });
    await using served = await deployment.serve();
    const operator = served.as("operator");
    const [auditId = ""] = await decide(operator, 2);
    const { chain } = await operator.audit.getFrozenChain({ auditId });
    const { position = 0n, hash = new Uint8Array(0) } = chain?.record ?? {};
    const { size } = await operator.audit.getCheckpoint({});
    const byPosition = await served.as("guest").audit.getInclusionProof({ position, size });
    expect(await operator.audit.getInclusionProof({ auditId, size })).to.deep.equal(byPosition);
    expect(await operator.audit.getInclusionProof({ hash, size })).to.deep.equal(byPosition);
    const root = served.as("root");
    expect(await root.audit.getInclusionProof({ auditId, tenant: "acme", size })).to.deep.equal(byPosition);
    expect(await root.audit.getInclusionProof({ hash, size })).to.deep.equal(byPosition);
    // A guest is of another tenant: what it may not see is not said to exist.
    const guest = served.as("guest");
    for (const name of [{ auditId }, { hash }]) {
      expect((await refusalOf(guest.audit.getInclusionProof(name))).codeName).to.equal("NOT_FOUND");
    }
    const forbidden = await refusalOf(guest.audit.getInclusionProof({ auditId, tenant: "acme" }));
    expect(forbidden.codeName).to.equal("PERMISSION_DENIED");
    const unknown = await refusalOf(root.audit.getInclusionProof({ hash: new Uint8Array(32) }));
    expect(unknown.message).to.match(/^NOT_FOUND: .*"0{64}"$/);
    // The system space is everybody's.
    const genesis = await guest.audit.getInclusionProof({ hash: await genesisOf(deployment) });
    expect(genesis.ledgerPosition).to.equal(0n);
  });

  it("as COSE receipts and as tlog-proofs lead a stranger to the same root, over rotations of the key", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const [guest, operator] = [served.as("guest"), served.as("operator")];
    const ids = [...(await decide(operator, 3))];
    await served.as("root").keys.rotateKey({ role: KeyRole.KEY_ROLE_CHECKPOINT });
    ids.push(...(await decide(operator, 4)));
    const walk = await walkKeys(guest, await genesisOf(deployment));
    const { size: newest } = await guest.audit.getCheckpoint({});
    for (const auditId of ids) {
      const { chain } = await operator.audit.getFrozenChain({ auditId });
      const entry = entryOf(chain?.record?.envelope ?? new Uint8Array(0));
      const leafIndex = chain?.record?.position ?? 0n;
      for (const size of [newest, newest - 1n]) {
        if (size <= leafIndex) continue;
        const found = await operator.audit.getInclusionProof({ auditId, size, receipt: true });
        const { checkpoint, inclusionProof: proof } = found;
        const text = formatTlogProof({ leafIndex, proof, checkpoint });
        const inReceipt = await walk.verifyReceipt(found.receipt, entry);
        expect(inReceipt).to.deep.include({ leafIndex, treeSize: size });
        expect(await walk.verifyTlogProof(text, entry)).to.deep.equal(inReceipt);
        const strange = await walk.verifyReceipt(found.receipt, new Uint8Array(32)).catch(String);
        expect(strange).to.match(/^ProofError: .*signature must verify/);
      }
    }
    expect((await guest.audit.getInclusionProof({})).receipt).to.have.length(0);
    const [tooSmall, ofEarlierKey] = [
      { position: 0n, size: 1n, receipt: true },
      { position: 0n, size: 4n, receipt: true },
    ].map((asked) => refusalOf(guest.audit.getInclusionProof(asked)));
    expect((await tooSmall)?.codeName).to.be.oneOf(["OUT_OF_RANGE", "FAILED_PRECONDITION"]);
    expect((await ofEarlierKey)?.reason).to.equal("CHECKPOINT_UNSIGNED");
  });

  it("refuse a name that is none, naming the field", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const { audit } = served.as("guest");
    const hash = new Uint8Array(32);
    const { size } = await audit.getCheckpoint({});
    const table: readonly (readonly [Promise<unknown>, string])[] = [
      [audit.getInclusionProof({ auditId: "a", hash }), "INVALID_ARGUMENT hash"],
      [audit.getInclusionProof({ position: 1n, auditId: "a" }), "INVALID_ARGUMENT position"],
      [audit.getInclusionProof({ position: 1n, hash }), "INVALID_ARGUMENT position"],
      [audit.getInclusionProof({ tenant: "acme" }), "INVALID_ARGUMENT tenant"],
      [audit.getInclusionProof({ hash: new Uint8Array(31) }), "INVALID_ARGUMENT hash"],
      [audit.getInclusionProof({ position: 1n, size: 1n }), "OUT_OF_RANGE"],
      [audit.getInclusionProof({ size: size + 1n }), "OUT_OF_RANGE"],
      [audit.getCheckpoint({ size: 1n, atLeast: 1n }), "INVALID_ARGUMENT at_least"],
      [audit.getCheckpoint({ cosigned: true }), "INVALID_ARGUMENT cosigned"],
      [audit.getCheckpoint({ size: size + 1n }), "OUT_OF_RANGE"],
      [audit.getCheckpoint({ atLeast: size + 1n }), "OUT_OF_RANGE"],
      [audit.getConsistencyProof({ oldSize: 2n, newSize: 1n }), "INVALID_ARGUMENT new_size"],
      [audit.getConsistencyProof({ oldSize: 1n, newSize: size + 1n }), "OUT_OF_RANGE"],
    ];
    for (const [call, wanted] of table) expect(await fieldOf(call)).to.equal(wanted);
  });

  it("of a size that only an earlier key could sign name the next one that it did sign", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const { audit } = served.as("guest");
    await decide(served.as("operator"), 4);
    const { size: stored } = await audit.getCheckpoint({});
    await served.as("root").keys.rotateKey({ role: KeyRole.KEY_ROLE_CHECKPOINT });
    await decide(served.as("operator"), 4);
    const size = stored - 1n;
    for (const call of [
      audit.getCheckpoint({ size }),
      audit.getInclusionProof({ position: 0n, size }),
      audit.getConsistencyProof({ oldSize: 1n, newSize: size }),
    ]) {
      const { codeName, reason, facts } = await refusalOf(call);
      expect({ codeName, reason, next: facts["stored_size"] }).to.deep.equal({
        codeName: "FAILED_PRECONDITION",
        reason: "CHECKPOINT_UNSIGNED",
        next: String(stored),
      });
    }
    expect((await audit.getCheckpoint({ atLeast: size })).size).to.equal(stored);
    const walk = await walkKeys(served.as("guest"), await genesisOf(deployment));
    const { checkpoint, signedTime } = await audit.getCheckpoint({ size: stored + 2n });
    expect(signedTime).to.be.instanceOf(Date);
    expect((await walk.verifyCheckpoint(checkpoint)).size).to.equal(stored + 2n);
  });
});
