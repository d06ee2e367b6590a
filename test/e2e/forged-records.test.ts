/**
 * Records forged by somebody who has the disk, the key-encryption key and the checkpoint key, and signs with what is at
 * hand: refused by the server that reads them, and by a stranger who has the genesis hash and is shown a tree that
 * holds them.
 */
import { generateKeyPairSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  ProofError,
  StepOutcome,
  walkKeys,
  KeyRole,
  type KeyWalk,
  type SigilConnection,
} from "@sigil/client";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { describeDeployment } from "../../src/deployment/open.ts";
import { createSigner, type Signer } from "../../src/crypto/signing/sign.ts";
import { recordKey } from "../../src/ledger/layout/keyspace.ts";
import { prepareRecord, signRecord } from "../../src/ledger/append/prepare.ts";
import { sealOne } from "../contract/sealing.ts";
import { Sealer } from "../../src/ledger/sealing/sealer.ts";
import { signCheckpoint } from "../../src/core/merkle/checkpoint.ts";
import { fromHex, parsePublicKey } from "../../src/core/bytes.ts";
import { decodeEnvelope, entryOf, parseRecordStatement } from "../../src/core/record/record.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import type { Store } from "../../src/storage/store.ts";
import { naiveInclusion, naiveRoot, sampleEntries } from "../unit/merkle/naive-tree.ts";
import { makeDeployment, origin, type Deployment, type ServedDeployment } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";

const kekInputs = { env: {}, askPassphrase: () => Promise.reject(new Error("no passphrase")) };

type Decision = { readonly auditId: string; readonly ledgerPosition: bigint };
type Forgery = {
  readonly name: string;
  readonly decision: () => Decision;
  readonly signer: () => Signer;
  readonly step: string;
};

describe("a forged record", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let store: Store;
  let operator: SigilConnection;
  let walk: KeyWalk;
  let early: Decision;
  let late: Decision;
  let recordSigner: Signer;
  let checkpointSigner: Signer;
  let keys: Awaited<ReturnType<typeof describeDeployment>>;
  const attacker = createSigner(generateKeyPairSync("ed25519").privateKey);

  before(async () => {
    deployment = await makeDeployment();
    const { directory } = deployment;
    const openStore = async (): Promise<Store> => (store = await openLevelStore(join(directory, "ledger")));
    served = await deployment.serve({ overrides: { openStore } });
    operator = served.as("operator");
    early = await operator.trust.check({ action: "write", target: "user/notes" });
    const { key } = await served.as("root").keys.rotateKey({ role: KeyRole.KEY_ROLE_RECORD });
    late = await operator.trust.check({ action: "write", target: "user/notes" });
    keys = await describeDeployment({ directory, kekInputs, nowMs: Date.now });
    recordSigner = await keys.signingKeys.open("record", parsePublicKey(key?.publicKey ?? new Uint8Array(0)));
    const { publicKey } = await operator.audit.getCheckpoint({});
    checkpointSigner = await keys.signingKeys.open("checkpoint", parsePublicKey(publicKey));
    const { genesis } = JSON.parse(await readFile(join(directory, "deployment.json"), "utf8")) as {
      readonly genesis: string;
    };
    walk = await walkKeys(served.as("guest"), fromHex(genesis));
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  /** The same body, signed anew. */
  const forge = async ({ auditId }: Decision, signer: Signer): Promise<Uint8Array> => {
    const { envelope } = await operator.audit.verifyFrozenChain({ auditId });
    const { body } = parseRecordStatement(decodeEnvelope(envelope).statement);
    const prepared = prepareRecord(body);
    return (await signRecord(prepared, { signer, origin })).envelope;
  };

  /** Evidence whose tree holds the envelope, under the deployment's own checkpoint key. */
  const evidenceFor = async (envelope: Uint8Array, position: bigint) => {
    const entries = [...sampleEntries(Number(position)), entryOf(envelope)];
    const tree = { origin, size: position + 1n, root: naiveRoot(entries) };
    return {
      position,
      envelope,
      checkpoint: await signCheckpoint(tree, checkpointSigner),
      inclusionProof: naiveInclusion(Number(position), entries),
    };
  };

  const forgeries: readonly Forgery[] = [
    {
      name: "by an attacker with its own key and its own key's name",
      decision: () => late,
      signer: () => attacker,
      step: "key",
    },
    {
      name: "by an attacker under the name of the right key",
      decision: () => late,
      signer: () => ({ ...attacker, thumbprint: recordSigner.thumbprint }),
      step: "signature",
    },
    {
      name: "by the right key before its first position",
      decision: () => early,
      signer: () => recordSigner,
      step: "key",
    },
    { name: "by the key of another role", decision: () => late, signer: () => checkpointSigner, step: "key" },
  ];

  for (const { name, decision, signer, step } of forgeries) {
    it(`signed ${name} is DATA_LOSS to its reader and refused by a stranger`, async () => {
      const { auditId, ledgerPosition } = decision();
      const envelope = await forge(decision(), signer());
      const key = recordKey(ledgerPosition);
      const whole = (await store.get(key)) ?? new Uint8Array(0);
      const sealer = new Sealer({ origin, keys: keys.dataKeys, store: () => store });
      await sealer.ready("acme");
      await store.commit([
        { kind: "put", key, value: await sealOne(sealer, envelope, ledgerPosition, "acme") },
      ]);
      try {
        const error = await refusalOf(operator.audit.getFrozenChain({ auditId }));
        expect(error).to.include({ codeName: "DATA_LOSS", reason: "RECORD_CORRUPT" });
        const { verified, steps } = await operator.audit.verifyFrozenChain({ auditId });
        expect(verified).to.equal(false);
        const failed = steps.filter(({ outcome }) => outcome === StepOutcome.STEP_OUTCOME_FAILED);
        expect(failed.map((each) => each.name)).to.deep.equal([step]);
      } finally {
        await store.commit([{ kind: "put", key, value: whole }]);
      }
      const evidence = await evidenceFor(envelope, ledgerPosition);
      const refused = await walk.verifyRecord(evidence).catch((thrown: unknown) => thrown);
      expect(refused).to.be.instanceOf(ProofError);
      expect((refused as Error).message)
        .to.match(new RegExp(`fails ${step}:`))
        .and.not.match(/fails inclusion/);
    });
  }

  it("is what is refused there: signed by the right key at its position the same evidence holds", async () => {
    const envelope = await forge(late, recordSigner);
    const evidence = await evidenceFor(envelope, late.ledgerPosition);
    expect(await walk.verifyRecord(evidence)).to.include({ kind: "frozen_chain", tenant: "acme" });
  });
});
