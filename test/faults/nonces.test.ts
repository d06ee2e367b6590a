/**
 * Data directories that were forked, copied and restored from a backup all go on with the same data keys. No nonce may
 * meet another under the same key: two records sealed with one (key, nonce) pair would betray each other.
 */
import { expect } from "chai";
import { randomUUID } from "node:crypto";
import { cpSync, rmSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "mocha";
import { describeForBackup } from "../../src/deployment/copy.ts";
import { restoreDeployment } from "../../src/deployment/restore.ts";
import { openDeployment } from "../../src/deployment/open.ts";
import type { Caller } from "../../src/identity/caller.ts";
import { familyRange } from "../../src/ledger/layout/keyspace.ts";
import { BackupDirectory } from "../../src/deployment/backup/directory.ts";
import { createBackupService } from "../../src/deployment/backup/backup.ts";
import { BackupWriter } from "../../src/deployment/backup/writer.ts";
import { toHex, utf8Decode } from "../../src/core/bytes.ts";
import type { RecordBody } from "../../src/core/record/record.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import { createDeployment, dataDirectory, openOptions } from "../campaigns/deployment.ts";

const copiesMax = 200;
/** Whose data directories the next copy may be made of: the youngest, an older one, or the very first. */
const keptMax = 8;
const tenant = "acme";

const bodyOf = (id: string): RecordBody => ({
  kind: "user_data",
  schemaVersion: 1,
  id,
  tenant,
  ts: 1,
  space: "user",
  payload: { id },
  links: [],
  prev: null,
});

const goOn = async (root: string, name: string): Promise<void> => {
  const ledger = await openDeployment(openOptions(root));
  await ledger.append([1, 2, 3].map((count) => bodyOf(`note/${name}/${count}`)));
  await ledger.close();
};

const root: Caller = { principal: "root", tenant: "system", level: "root", credential: "token", peer: "" };

/** A backup as it is taken from a server, without the wire between. */
const backUp = async (from: string, to: string): Promise<void> => {
  await using ledger = await openDeployment(openOptions(from));
  const service = createBackupService({ ledger, describe: () => describeForBackup(dataDirectory(from)) });
  await using directory = await BackupDirectory.open(to);
  let writer: BackupWriter | undefined;
  for await (const part of service.backup(root, 0n, new AbortController().signal)) {
    if (part.kind === "head") {
      writer = await BackupWriter.begin({ directory, head: part.head, newId: randomUUID, nowMs: Date.now });
    } else if (part.kind === "chunk") await writer?.take(part.bytes);
    else await writer?.finish(part);
  }
};

/** The deployment of a backup, with the key of the one it was made of. */
const restore = async (backup: string, from: string, to: string): Promise<void> => {
  await mkdir(to);
  const { directory, kekInputs, nowMs } = openOptions(to);
  const kekSource = { kind: "file", path: join(from, "kek") } as const;
  const newId = (): string => randomUUID();
  await restoreDeployment({ from: backup, directory, kekSource, kekInputs, newId, nowMs });
};

type Sealed = { readonly pair: string; readonly value: string };

/** `u8 length ‖ tenant ‖ key version u32be ‖ nonce[12] ‖ …` of one tenant's records. */
async function* sealedIn(root: string): AsyncGenerator<Sealed> {
  await using store = await openLevelStore(join(dataDirectory(root), "ledger"), { onMissing: "fail" });
  for await (const [, stored] of store.range(familyRange("r"))) {
    const tenantEnd = 1 + (stored[0] ?? 0);
    if (utf8Decode(stored.subarray(1, tenantEnd)) !== tenant) continue;
    const pair = toHex(stored.subarray(tenantEnd, tenantEnd + 16));
    yield { pair, value: toHex(stored.subarray(tenantEnd)) };
  }
}

/** Remembers what was sealed under each pair. @returns pairs that were met with two values. */
const collect = async (seen: Map<string, string>, root: string): Promise<readonly string[]> => {
  const reused: string[] = [];
  for await (const { pair, value } of sealedIn(root)) {
    // The same value under the same pair is one record in two copies.
    if ((seen.get(pair) ?? value) !== value) reused.push(pair);
    seen.set(pair, value);
  }
  return reused;
};

describe("nonces of sealed records", () => {
  it(`never meet under one key over ${copiesMax} forks, copies and restorations that all go on writing`, async () => {
    const parent = await mkdtemp(join(tmpdir(), "sigil-nonces-"));
    try {
      const first = join(parent, "first");
      await mkdir(first);
      await createDeployment(first);
      await goOn(first, "first");
      const backup = join(parent, "backup");
      await backUp(first, backup);
      const kept = [first];
      const seen = new Map<string, string>();
      const reused = [...(await collect(seen, first))];
      for (let copy = 0; copy < copiesMax; copy += 1) {
        // In turn: the youngest goes on, an older one forks, the first is put back, or restored from its backup.
        const put = copy % 6 === 5 ? undefined : first;
        const from = [kept.at(-1), kept[copy % kept.length], put][copy % 3];
        const root = join(parent, `copy-${copy}`);
        if (from === undefined) await restore(backup, first, root);
        else cpSync(from, root, { recursive: true });
        await goOn(root, `copy-${copy}`);
        reused.push(...(await collect(seen, root)));
        kept.push(root);
        const oldest = kept.length > keptMax ? kept.splice(1, 1)[0] : undefined;
        if (oldest !== undefined) rmSync(oldest, { recursive: true });
      }
      expect(reused).to.deep.equal([]);
      // One pair a record: what the copies wrote was seen.
      expect(seen.size).to.equal(3 * (copiesMax + 1));
    } finally {
      await rm(parent, { recursive: true });
    }
  });
});
