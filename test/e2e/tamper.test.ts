/** Damage to stored records, seen from a caller: refused as DATA_LOSS, never served. */
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { open, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SigilError, StepOutcome, type SigilConnection } from "@sigil/client";
import { hashKey, prefixRange, recordKey, tenantPrefix, tileKey } from "../../src/ledger/layout/keyspace.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import type { Store } from "../../src/storage/store.ts";
import { sigilHere } from "./command.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { codeOf } from "./refusal.ts";

describe("e2e_tamper_audit", () => {
  let deployment: Deployment;
  let store: Store;
  let served: ServedDeployment;
  let operator: SigilConnection;

  beforeEach(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve({
      overrides: {
        openStore: async () => {
          store = await openLevelStore(join(deployment.directory, "ledger"));
          return store;
        },
      },
    });
    operator = served.as("operator");
  });
  afterEach(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  const stored = async (position: bigint): Promise<Uint8Array> => {
    const value = await store.get(recordKey(position));
    if (value === undefined) throw new Error("nothing is stored there");
    return value;
  };
  const overwrite = (key: Uint8Array, value: Uint8Array): Promise<void> =>
    store.commit([{ kind: "put", key, value }]);
  const decide = () => operator.trust.check({ action: "write", target: "user/notes" });
  const read = (auditId: string) => codeOf(operator.audit.getFrozenChain({ auditId }));

  it("refuses a record with any one of its bytes flipped", async () => {
    const { auditId, ledgerPosition } = await decide();
    const whole = await stored(ledgerPosition);
    expect(await read(auditId)).to.equal("OK");
    for (let index = 0; index < whole.length; index += 1) {
      const damaged = Uint8Array.from(whole);
      damaged[index] = (damaged[index] ?? 0) ^ (1 << (index % 8));
      await overwrite(recordKey(ledgerPosition), damaged);
      expect(await read(auditId), `byte ${index}`).to.equal("DATA_LOSS");
    }
    await overwrite(recordKey(ledgerPosition), whole);
    expect(await read(auditId)).to.equal("OK");
  });

  it("refuses a record cut short, grown, emptied or gone", async () => {
    const { auditId, ledgerPosition } = await decide();
    const whole = await stored(ledgerPosition);
    for (const damaged of [whole.subarray(0, -1), Uint8Array.of(...whole, 0), new Uint8Array(0)]) {
      await overwrite(recordKey(ledgerPosition), damaged);
      expect(await read(auditId)).to.equal("DATA_LOSS");
    }
    await store.commit([{ kind: "delete", key: recordKey(ledgerPosition) }]);
    expect(await read(auditId)).to.equal("DATA_LOSS");
  });

  it("refuses records swapped between positions", async () => {
    const first = await decide();
    const second = await decide();
    const firstBytes = await stored(first.ledgerPosition);
    await overwrite(recordKey(first.ledgerPosition), await stored(second.ledgerPosition));
    await overwrite(recordKey(second.ledgerPosition), firstBytes);
    expect(await read(first.auditId)).to.equal("DATA_LOSS");
    expect(await read(second.auditId)).to.equal("DATA_LOSS");
  });

  it("refuses a record that names another tenant, or stands where another tenant's stood", async () => {
    const ours = await decide();
    const theirs = await served.as("guest").trust.check({ action: "read", target: "public/docs" });
    const bytes = await stored(ours.ledgerPosition);
    const tenantEnd = 1 + (bytes[0] ?? 0);
    const name = new TextEncoder().encode("public");
    await overwrite(
      recordKey(ours.ledgerPosition),
      Uint8Array.of(name.length, ...name, ...bytes.subarray(tenantEnd)),
    );
    expect(await read(ours.auditId)).to.equal("DATA_LOSS");
    await overwrite(recordKey(ours.ledgerPosition), await stored(theirs.ledgerPosition));
    expect(await read(ours.auditId)).to.equal("DATA_LOSS");
  });

  it("refuses a record of another deployment at the same position", async () => {
    const { auditId, ledgerPosition } = await decide();
    await using other = await makeDeployment();
    {
      await using otherServed = await other.serve();
      const twin = await otherServed.as("operator").trust.check({ action: "write", target: "user/notes" });
      expect(twin.ledgerPosition).to.equal(ledgerPosition);
    }
    await using foreign = await openLevelStore(join(other.directory, "ledger"));
    const bytes = await foreign.get(recordKey(ledgerPosition));
    await overwrite(recordKey(ledgerPosition), bytes ?? new Uint8Array(0));
    expect(await read(auditId)).to.equal("DATA_LOSS");
  });

  it("refuses when an index is bent to another record", async () => {
    const first = await decide();
    const second = await decide();
    const hashOf = async (auditId: string) => {
      const { chain } = await operator.audit.getFrozenChain({ auditId });
      return (chain?.record?.hash ?? new Uint8Array(32)) as never;
    };
    const place = await store.get(hashKey(await hashOf(second.auditId)));
    await overwrite(hashKey(await hashOf(first.auditId)), place ?? new Uint8Array(0));
    expect(await read(first.auditId)).to.equal("DATA_LOSS");
    const proof = await operator.audit.verifyFrozenChain({ auditId: first.auditId });
    expect(proof.verified).to.equal(false);
    const { chain } = await operator.audit.getFrozenChain({ auditId: second.auditId });
    await store.commit([
      { kind: "delete", key: hashKey((chain?.record?.hash ?? new Uint8Array(32)) as never) },
    ]);
    expect(await read(second.auditId)).to.equal("DATA_LOSS");
  });

  it("refuses a whole tile's records when the tile was bent", async () => {
    const { results } = await operator.trust.batchCheck({
      checks: Array.from({ length: 300 }, () => ({ action: "read", target: "public/docs" })),
    });
    const tile = await store.get(tileKey(0, 0n));
    const damaged = Uint8Array.from(tile ?? []);
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
    await overwrite(tileKey(0, 0n), damaged);
    const outcome = results[0]?.outcome;
    const auditId = outcome?.$case === "decision" ? outcome.value.auditId : "";
    expect(await read(auditId)).to.equal("DATA_LOSS");
  });

  it("names the failed step in a verification and skips the rest", async () => {
    const { auditId, ledgerPosition } = await decide();
    const damaged = await stored(ledgerPosition);
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
    await overwrite(recordKey(ledgerPosition), damaged);
    const proof = await operator.audit.verifyFrozenChain({ auditId });
    expect(proof.verified).to.equal(false);
    expect(proof.steps[0]).to.include({ name: "seal", outcome: StepOutcome.STEP_OUTCOME_FAILED });
    expect(
      proof.steps.slice(1).every(({ outcome }) => outcome === StepOutcome.STEP_OUTCOME_SKIPPED),
    ).to.equal(true);
  });

  it("names the damaged position when a page meets it, and counts it in a metric", async () => {
    const first = await decide();
    const damaged = await stored(first.ledgerPosition);
    damaged[40] = (damaged[40] ?? 0) ^ 1;
    await overwrite(recordKey(first.ledgerPosition), damaged);
    const error = await operator.audit.listFrozenChains({}).then(
      () => undefined,
      (thrown: unknown) => SigilError.from(thrown),
    );
    expect(error?.codeName).to.equal("DATA_LOSS");
    expect(error?.message).to.contain(`position ${first.ledgerPosition}`);
    const metrics = await (await fetch(`${served.server.operatorUrl}/metrics`)).text();
    expect(metrics).to.match(/verify_failures_total\{[^}]*step="seal"[^}]*\} [1-9]/);
    expect((await decide()).allowed).to.equal(true);
  });

  /** In the table file of the database where the bytes lie. */
  const flipInFile = async (bytes: Uint8Array): Promise<void> => {
    const ledger = join(deployment.directory, "ledger");
    for (const name of await readdir(ledger)) {
      if (!name.endsWith(".ldb")) continue;
      const at = (await readFile(join(ledger, name))).indexOf(bytes);
      if (at < 0) continue;
      await using file = await open(join(ledger, name), "r+");
      const middle = bytes.length >> 1;
      await file.write(Uint8Array.of((bytes[middle] ?? 0) ^ 1), 0, 1, at + middle);
      return;
    }
    throw new Error("no table file holds these bytes");
  };

  const fsckLive = async (level: "root" | "operator", ...more: readonly string[]) => {
    const key = join(deployment.directory, "..", `${level}.pem`);
    const pem = deployment.privateKeys[level].export({ type: "pkcs8", format: "pem" });
    await writeFile(key, pem, { mode: 0o600 });
    const words = ["fsck", "--live", "--json", "--key", key, "--principal", level, ...more];
    return sigilHere([...words, "--server", served.server.target], { cwd: deployment.directory });
  };

  it("is found by fsck --live on the disk of the server, while it decides", async () => {
    let isOver = false;
    const asking = (async (): Promise<number> => {
      let asked = 0;
      for (; !isOver; asked += 1) expect((await decide()).allowed).to.equal(true);
      return asked;
    })();
    const { ledgerPosition } = await decide();
    const clean = await fsckLive("root");
    expect(clean.exitCode, clean.problems + clean.output).to.equal(0);
    const report = JSON.parse(clean.output) as Readonly<Record<string, unknown>>;
    expect(report).to.include({ ok: true, found: 0, firstBadPosition: null, origin: "sigil.test" });
    expect(BigInt(String(report["size"])) > ledgerPosition).to.equal(true);
    expect(report["checkpoint"]).to.contain(`sigil.test\n${String(report["size"])}\n`);
    await flipInFile(await stored(ledgerPosition));
    const damaged = await fsckLive("root");
    isOver = true;
    expect(await asking).to.be.greaterThan(1);
    expect(damaged.exitCode, damaged.problems).to.equal(1);
    expect(JSON.parse(damaged.output)).to.deep.include({
      ok: false,
      found: 1,
      firstBadPosition: String(ledgerPosition),
    });
    expect(served.logged()).to.contain("inspected: damage was found");
    const refused = await fsckLive("operator");
    expect(refused.exitCode).to.equal(2);
    expect(refused.problems).to.contain("PERMISSION_DENIED");
    const confused = await fsckLive("root", "--data", "data");
    expect(confused).to.include({ exitCode: 2 });
    expect(confused.problems).to.contain("--data is for a directory that nobody serves");
  });

  it("holds no plain text of a decision in its data directory's index", async () => {
    await operator.trust.check({ action: "write", target: "user/canary-target", session: "canary-session" });
    for await (const [key, value] of store.range(prefixRange(tenantPrefix("d", "acme")))) {
      expect(Buffer.concat([key, value]).toString("latin1")).to.not.match(/canary|write|operator/);
    }
  });
});
