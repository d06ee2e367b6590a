/** Signing keys of a deployment that serves: rotated under load, retired, walked by a stranger. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { KeyRole, KeyState, type SigilConnection } from "@sigil/client";
import { describeDeployment } from "../../src/deployment.ts";
import { walkKeys } from "../../src/keys/key-records.ts";
import { findSigner, type KeyRing } from "../../src/keys/ring.ts";
import { verifyForeign, verifyOwn } from "../../src/keys/verify.ts";
import { runFsck } from "../../src/ledger/fsck.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import { fromHex, parseHash, toHex } from "../../src/record/bytes.ts";
import { toBeSigned } from "../../src/record/cose.ts";
import { decodeEnvelope, hashRecord, parseRecordStatement } from "../../src/record/record.ts";
import { makeDeployment, type Deployment } from "./deployment.ts";
import { codeOf, refusalOf } from "./refusal.ts";

const turns = 10;
const callers = 8;
const { KEY_ROLE_RECORD, KEY_ROLE_CHECKPOINT } = KeyRole;
const roles = [KEY_ROLE_RECORD, KEY_ROLE_CHECKPOINT] as const;
const kekInputs = { env: {}, askPassphrase: () => Promise.reject(new Error("no passphrase")) };

const genesisOf = async ({ directory }: Deployment): Promise<string> => {
  const text = await readFile(join(directory, "deployment.json"), "utf8");
  return (JSON.parse(text) as { readonly genesis: string }).genesis;
};

/** The keys as somebody sees them who has the genesis hash and believes nothing else. */
const walkAsStranger = async (connection: SigilConnection, genesis: string): Promise<KeyRing> => {
  const { records } = await connection.keys.listKeyRecords({});
  const walked = await walkKeys(
    parseHash(fromHex(genesis)),
    records.map(({ ledgerPosition, envelope }) => ({ position: ledgerPosition, envelope })),
    { verify: verifyForeign },
  );
  return walked.ring;
};

/** @returns what is wrong with a record at a position, by the ring alone; undefined when nothing is. */
const faultIn = async (
  ring: KeyRing,
  position: bigint,
  envelope: Uint8Array,
): Promise<string | undefined> => {
  const { statement } = parseRecordStatement(decodeEnvelope(envelope).statement);
  const signer = findSigner(ring, "record", statement.kid, position);
  if (signer.kind === "refused") return `${position}: ${signer.rule}`;
  const message = toBeSigned(statement.protectedBytes, statement.payload);
  const holds = await verifyOwn(signer.entry.publicKey, message, statement.signature);
  return holds ? undefined : `${position}: the signature does not verify`;
};

const together = 64n;

/** Every record, by the server's own steps and by the stranger's ring. */
const expectAllVerified = async (ledger: Ledger, ring: KeyRing): Promise<void> => {
  const faults: (string | undefined)[] = [];
  const verify = async (position: bigint): Promise<void> => {
    const { steps, record } = await ledger.examine(position);
    for (const { name, outcome, detail } of steps)
      if (outcome !== "passed") faults.push(`${position}: ${name}: ${detail}`);
    if (record !== undefined) faults.push(await faultIn(ring, position, record.envelope));
  };
  for (let from = 0n; from < ledger.size; from += together) {
    const positions: bigint[] = [];
    for (let at = from; at < from + together && at < ledger.size; at += 1n) positions.push(at);
    await Promise.all(positions.map(verify));
  }
  expect(faults.filter((fault) => fault !== undefined)).to.deep.equal([]);
};

const signingFiles = async ({ directory }: Deployment): Promise<readonly string[]> =>
  (await readdir(join(directory, "keys"))).filter((name) => name !== "data").toSorted();

describe("keys of a deployment that serves", function () {
  this.timeout(60_000);
  this.slow(10_000);

  it("rotation keeps verifying", async () => {
    await using deployment = await makeDeployment();
    const genesis = await genesisOf(deployment);
    const audits: string[] = [];
    {
      await using served = await deployment.serve();
      const operator = served.as("operator");
      const { keys } = served.as("root");
      let isOver = false;
      const load = Array.from({ length: callers }, async () => {
        while (!isOver)
          audits.push((await operator.trust.check({ action: "write", target: "user/notes" })).auditId);
      });
      for (let turn = 0; turn < turns; turn += 1) {
        for (const role of roles) {
          const before = audits.length;
          await keys.rotateKey({ role });
          // Callers get their answers between any two keys.
          while (audits.length < before + callers) await new Promise((resolve) => setTimeout(resolve, 1));
        }
      }
      isOver = true;
      await Promise.all(load);
      const { ledger } = served.server;
      const ring = await walkAsStranger(served.as("guest"), genesis);
      expect(ring).to.deep.equal(ledger.ring);
      expect(ring.entries).to.have.length(2 * (turns + 1));
      await expectAllVerified(ledger, ring);
      const signers = new Set<string>();
      for (let position = 0n; position < ledger.size; position += 1n) {
        signers.add(toHex((await ledger.readAt(position)).signedBy.thumbprint));
      }
      expect(signers).to.have.property("size", turns + 1);
      expect(await signingFiles(deployment)).to.deep.equal([
        `checkpoint-${turns + 1}.json`,
        `record-${turns + 1}.json`,
      ]);
    }
    await using again = await deployment.serve();
    const ring = await walkAsStranger(again.as("guest"), genesis);
    await expectAllVerified(again.server.ledger, ring);
    const operator = again.as("operator");
    for (const auditId of [...audits.slice(0, 20), ...audits.slice(-20)]) {
      const verification = await operator.audit.verifyFrozenChain({ auditId });
      expect(verification.verified).to.equal(true);
      expect(await faultIn(ring, verification.ledgerPosition, verification.envelope)).to.equal(undefined);
    }
    const { size } = again.server.ledger;
    await again[Symbol.asyncDispose]();
    const options = await describeDeployment({ directory: deployment.directory, kekInputs, nowMs: Date.now });
    expect(await runFsck(options)).to.include({ ok: true, size });
  });

  it("a stranger refuses keys that do not follow from the genesis hash", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    await served.as("root").keys.rotateKey({ role: KEY_ROLE_RECORD });
    const genesis = await genesisOf(deployment);
    expect((await walkAsStranger(served.as("guest"), genesis)).entries).to.have.length(3);
    let refused: unknown;
    await walkAsStranger(served.as("guest"), "00".repeat(32)).catch((error: unknown) => (refused = error));
    expect(refused).to.have.nested.property("error.step", "genesis");
    const { records } = await served.as("guest").keys.listKeyRecords({});
    const { statement } = parseRecordStatement(
      decodeEnvelope(records[0]?.envelope ?? new Uint8Array(0)).statement,
    );
    expect(toHex(hashRecord(statement.payload))).to.equal(genesis);
  });

  it("lists each key with its positions and state, and logs and counts what was done to them", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const { keys } = served.as("root");
    const [first] = (await keys.listKeys({})).keys;
    const rotated = await keys.rotateKey({
      role: KEY_ROLE_RECORD,
      expectedThumbprint: first?.thumbprint ?? new Uint8Array(0),
    });
    const size = served.server.ledger.size;
    expect(rotated.key?.firstPosition).to.equal(size);
    const { key } = await keys.retireKey({ thumbprint: first?.thumbprint ?? new Uint8Array(0) });
    expect(key).to.include({ state: KeyState.KEY_STATE_RETIRED, retiredFrom: size, lastPosition: size - 1n });
    const listed = (await keys.listKeys({})).keys;
    expect(listed.map(({ role, state }) => [role, state])).to.deep.equal([
      [KEY_ROLE_RECORD, KeyState.KEY_STATE_RETIRED],
      [KEY_ROLE_RECORD, KeyState.KEY_STATE_ACTIVE],
      [KEY_ROLE_CHECKPOINT, KeyState.KEY_STATE_ACTIVE],
    ]);
    expect(served.logged())
      .to.match(/"msg":"key rotated"/)
      .and.match(/"msg":"key retired"/);
    const metrics = await (await fetch(`${served.server.operatorUrl}/metrics`)).text();
    expect(metrics).to.contain('sigil_key_changes_total{change="rotated",role="record"} 1');
  });

  it("refuses whom it must, and what it must", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const { keys } = served.as("root");
    for (const level of ["guest", "mentor"] as const) {
      expect(await codeOf(served.as(level).keys.rotateKey({ role: KEY_ROLE_RECORD }))).to.equal(
        "PERMISSION_DENIED",
      );
      expect(await codeOf(served.as(level).keys.listKeys({}))).to.equal("PERMISSION_DENIED");
    }
    const [first] = (await keys.listKeys({})).keys;
    const thumbprint = first?.thumbprint ?? new Uint8Array(0);
    await keys.rotateKey({ role: KEY_ROLE_RECORD });
    const replaced = await refusalOf(
      keys.rotateKey({ role: KEY_ROLE_RECORD, expectedThumbprint: thumbprint }),
    );
    expect(replaced).to.include({ codeName: "ABORTED", reason: "KEY_REPLACED" });
    const { size } = served.server.ledger;
    const cases = [
      [keys.rotateKey({}), "INVALID_ARGUMENT"],
      [keys.rotateKey({ role: KEY_ROLE_RECORD, expectedThumbprint: Uint8Array.of(1) }), "INVALID_ARGUMENT"],
      [keys.retireKey({ thumbprint: new Uint8Array(32) }), "NOT_FOUND"],
      [keys.retireKey({ thumbprint, fromPosition: 0n }), "INVALID_ARGUMENT"],
      [keys.retireKey({ thumbprint, fromPosition: size + 1n }), "OUT_OF_RANGE"],
    ] as const;
    for (const [call, code] of cases) expect(await codeOf(call)).to.equal(code);
    expect(served.server.ledger.size).to.equal(size);
  });
});
