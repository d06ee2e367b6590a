/** Signing keys of a deployment that serves: rotated under load, retired, walked by a stranger. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect } from "chai";
import { describe, it } from "mocha";
import {
  KeyRole,
  KeyState,
  ProofError,
  readEvidence,
  walkKeys,
  type KeyWalk,
  type RecordEvidence,
  type SigilConnection,
} from "@sigil/client";
import { describeDeployment } from "../../src/deployment/open.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import { fromHex, toHex } from "../../src/core/bytes.ts";
import { decodeEnvelope, hashRecord, parseRecordStatement } from "../../src/core/record/record.ts";
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
const walkAsStranger = (connection: SigilConnection, genesis: string): Promise<KeyWalk> =>
  walkKeys(connection, fromHex(genesis));

/** @returns what is wrong with a record at a position, by the walk alone; undefined when nothing is. */
const faultIn = async (
  walk: KeyWalk,
  connection: SigilConnection,
  position: bigint,
  envelope: Uint8Array,
): Promise<string | undefined> => {
  const proof = await connection.audit.getInclusionProof({ position });
  const found = await walk.verifyRecord({ position, envelope, ...proof }).catch((error: unknown) => error);
  return found instanceof Error ? found.message : undefined;
};

const together = 64n;

/** Every record, by the server's own steps and, where there is one, by the stranger's walk. */
const expectAllVerified = async (
  ledger: Ledger,
  walk: KeyWalk | undefined,
  connection: SigilConnection,
): Promise<void> => {
  const faults: (string | undefined)[] = [];
  // A stranger's verification costs milliseconds: where keys change hands, and a part of what lies between.
  const edges = new Set(
    walk?.keys.flatMap(({ firstPosition, lastPosition }) => [firstPosition, lastPosition ?? firstPosition]),
  );
  const isForStranger = (position: bigint): boolean => edges.has(position) || position % 20n === 0n;
  const verify = async (position: bigint): Promise<void> => {
    const { steps, record } = await ledger.reader.examine(position);
    for (const { name, outcome, detail } of steps)
      if (outcome !== "passed") faults.push(`${position}: ${name}: ${detail}`);
    if (record !== undefined && walk !== undefined && isForStranger(position))
      faults.push(await faultIn(walk, connection, position, record.envelope));
  };
  for (let from = 0n; from < ledger.reader.size; from += together) {
    const positions: bigint[] = [];
    for (let at = from; at < from + together && at < ledger.reader.size; at += 1n) positions.push(at);
    await Promise.all(positions.map(verify));
  }
  expect(faults.filter((fault) => fault !== undefined)).to.deep.equal([]);
};

const signingFiles = async ({ directory }: Deployment): Promise<readonly string[]> =>
  (await readdir(join(directory, "keys"))).filter((name) => name !== "data").toSorted();

describe("keys of a deployment that serves", function () {
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
      const guest = served.as("guest");
      const walk = await walkAsStranger(guest, genesis);
      expect(walk.keys.map(({ thumbprint }) => thumbprint)).to.deep.equal(
        ledger.reader.ring.entries.map(({ thumbprint }) => thumbprint),
      );
      expect(walk.keys).to.have.length(2 * (turns + 1));
      await expectAllVerified(ledger, undefined, guest);
      const signers = new Set<string>();
      for (let position = 0n; position < ledger.reader.size; position += 1n) {
        signers.add(toHex((await ledger.reader.readAt(position)).signedBy.thumbprint));
      }
      expect(signers).to.have.property("size", turns + 1);
      expect(await signingFiles(deployment)).to.deep.equal([
        `checkpoint-${turns + 1}.json`,
        `record-${turns + 1}.json`,
      ]);
    }
    await using again = await deployment.serve();
    const guest = again.as("guest");
    const walk = await walkAsStranger(guest, genesis);
    await expectAllVerified(again.server.ledger, walk, guest);
    const operator = again.as("operator");
    for (const auditId of [...audits.slice(0, 20), ...audits.slice(-20)]) {
      const verification = await operator.audit.verifyFrozenChain({ auditId });
      expect(verification.verified).to.equal(true);
      const { ledgerPosition: position, ...evidence } = verification;
      const { id } = await walk.verifyRecord({ position, ...evidence });
      expect(id).to.equal(auditId);
    }
    const { size } = again.server.ledger.reader;
    await again[Symbol.asyncDispose]();
    const options = await describeDeployment({ directory: deployment.directory, kekInputs, nowMs: Date.now });
    expect(await runFsck(options)).to.include({ ok: true, size });
  });

  it("a stranger refuses keys that do not follow from the genesis hash", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    await served.as("root").keys.rotateKey({ role: KEY_ROLE_RECORD });
    const genesis = await genesisOf(deployment);
    expect((await walkAsStranger(served.as("guest"), genesis)).keys).to.have.length(3);
    let refused: unknown;
    await walkAsStranger(served.as("guest"), "00".repeat(32)).catch((error: unknown) => (refused = error));
    expect(refused)
      .to.be.instanceOf(ProofError)
      .and.have.property("message")
      .that.includes("not the expected");
    const { records } = await served.as("guest").keys.listKeyRecords({});
    const { statement } = parseRecordStatement(
      decodeEnvelope(records[0]?.envelope ?? new Uint8Array(0)).statement,
    );
    expect(toHex(hashRecord(statement.payload))).to.equal(genesis);
  });

  it("a stranger refuses records that do not hold, and a ledger of another past", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const [guest, operator] = [served.as("guest"), served.as("operator")];
    const ask = async (): Promise<RecordEvidence> => {
      const { auditId } = await operator.trust.check({ action: "write", target: "user/notes" });
      const { ledgerPosition: position, ...evidence } = await operator.audit.verifyFrozenChain({ auditId });
      return { position, ...evidence };
    };
    const [one, two] = [await ask(), await ask()];
    const walk = await walkAsStranger(guest, await genesisOf(deployment));
    expect(await walk.verifyRecord(two)).to.include({ kind: "frozen_chain", tenant: "acme" });
    const flipped = (bytes: Uint8Array): Uint8Array => bytes.with(bytes.length - 1, (bytes.at(-1) ?? 0) ^ 1);
    const bad: readonly (readonly [RecordEvidence, RegExp])[] = [
      [{ ...two, envelope: one.envelope }, /fails inclusion/],
      [{ ...two, position: one.position }, /fails inclusion/],
      [{ ...two, inclusionProof: two.inclusionProof.map(flipped) }, /fails inclusion/],
      [{ ...two, inclusionProof: [] }, /exactly/],
      [{ ...two, checkpoint: two.checkpoint.replace(/^(.*\n)\d+/, "$19") }, /signature must verify/],
      [{ ...two, envelope: new Uint8Array(3) }, /fails envelope/],
    ];
    for (const [evidence, rule] of bad) {
      const refused = await walk.verifyRecord(evidence).then(
        () => "it was believed",
        (error: unknown) => (error instanceof ProofError ? error.message : String(error)),
      );
      expect(refused).to.match(rule);
    }
    const known = await walk.verifyCheckpoint(one.checkpoint);
    const newer = await guest.audit.getConsistencyProof({ oldSize: known.size });
    expect((await walk.verifyGrowth(known, newer)).size).to.equal(served.server.ledger.reader.size);
    const other = { ...known, root: flipped(known.root) };
    const refused = await walk.verifyGrowth(other, newer).catch((error: unknown) => error);
    expect((refused as Error).message).to.match(/does not begin with that of/);
    for (const call of [
      guest.audit.getConsistencyProof({ oldSize: served.server.ledger.reader.size + 1n }),
      guest.audit.getInclusionProof({ position: served.server.ledger.reader.size }),
    ]) {
      expect(await codeOf(call)).to.equal("OUT_OF_RANGE");
    }
  });

  it("a stranger does so as the client's README prints it", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const sigil = served.as("operator");
    const { auditId } = await sigil.trust.check({ action: "write", target: "user/notes" });
    const readme = await readFile(join(import.meta.dirname, "../../clients/typescript/README.md"), "utf8");
    const snippets = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code ?? "");
    const verifying = snippets.filter((code) => /walkKeys|verifyDecision|verify\(file/.test(code));
    expect(verifying).to.have.length(4);
    const lines: unknown[][] = [];
    const console = { log: (...words: unknown[]) => lines.push(words) };
    const name = Symbol.for("sigil.readme");
    Reflect.set(globalThis, name, {
      sigil,
      auditId,
      target: served.server.target,
      tls: "insecure",
      signer: deployment.signer("operator"),
      file: await readEvidence(served.as("observer"), { auditId }),
      genesisHash: fromHex(await genesisOf(deployment)),
      console,
    });
    // Inside the repository, so that the package is found by its name.
    const directory = await mkdtemp(join(import.meta.dirname, ".readme-"));
    try {
      const given =
        'const { sigil, auditId, target, tls, signer, file, genesisHash, console } = globalThis[Symbol.for("sigil.readme")];';
      await writeFile(join(directory, "snippet.ts"), `${given}\n${verifying.join("\n")}`);
      await import(pathToFileURL(join(directory, "snippet.ts")).href);
    } finally {
      Reflect.deleteProperty(globalThis, name);
      await rm(directory, { recursive: true });
    }
    // The snippets ask for two decisions more.
    expect(lines).to.deep.equal([
      [auditId, "active"],
      [served.server.ledger.reader.size - 2n],
      ["SCORE_AT_OR_ABOVE_THRESHOLD"],
      [auditId],
      [true],
    ]);
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
    const size = served.server.ledger.reader.size;
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
    expect(metrics).to.match(/^sigil_key_changes_total\{change="rotated",role="record"\} 1$/m);
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
    const { size } = served.server.ledger.reader;
    const cases = [
      [keys.rotateKey({}), "INVALID_ARGUMENT"],
      [keys.rotateKey({ role: KEY_ROLE_RECORD, expectedThumbprint: Uint8Array.of(1) }), "INVALID_ARGUMENT"],
      [keys.retireKey({ thumbprint: new Uint8Array(32) }), "NOT_FOUND"],
      [keys.retireKey({ thumbprint, fromPosition: 0n }), "INVALID_ARGUMENT"],
      [keys.retireKey({ thumbprint, fromPosition: size + 1n }), "OUT_OF_RANGE"],
    ] as const;
    for (const [call, code] of cases) expect(await codeOf(call)).to.equal(code);
    expect(served.server.ledger.reader.size).to.equal(size);
  });
});
