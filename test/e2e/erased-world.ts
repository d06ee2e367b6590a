/** A tenant whose every word is a canary, beside others, so that what is left of it can be looked for. */
import { generateKeyPairSync } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Proposal } from "@sigil/client";
import { describeDeployment } from "../../src/deployment/open.ts";
import { runFsck, type FsckOptions, type FsckReport } from "../../src/ledger/fsck/fsck.ts";
import { QuorumInspection } from "../../src/canon/proposals/quorum-inspection.ts";
import { type Council, json } from "./council.ts";
import { sigilHere, type Ended } from "./command.ts";
import { put } from "./canon-writes.ts";

export const canary = "kanarienvogel";
export const kekInputs = { env: {}, askPassphrase: () => Promise.reject(new Error("no passphrase")) };

/** Files below a directory that hold one of the needles, by the needle that was found. */
export const filesHolding = async (
  directory: string,
  needles: readonly Uint8Array[],
): Promise<readonly string[]> => {
  const found: string[] = [];
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const content = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    // A compaction moved its entries to another file, maybe one that was not listed.
    if (content === undefined) return filesHolding(directory, needles);
    if (needles.some((needle) => content.includes(Buffer.from(needle))))
      found.push(path.slice(directory.length + 1));
  }
  return found;
};

/** The canary as it may lie in a file. */
export const canaries: readonly Uint8Array[] = [
  Buffer.from(canary),
  Buffer.from(Buffer.from(canary).toString("base64").slice(0, -4)),
  Buffer.from(Buffer.from(canary).toString("hex")),
];

/** The plain bytes of a tenant's data keys, as nothing but the key-encryption key gives them. */
export const dataKeysOf = async (
  directory: string,
  tenant: string,
  versions: number,
): Promise<readonly Buffer[]> => {
  const { dataKeys } = await describeDeployment({ directory, kekInputs, nowMs: Date.now });
  const keys: Buffer[] = [];
  for (let version = 1; version <= versions; version += 1) {
    keys.push((await dataKeys.at(tenant, version)).dataKey.export());
  }
  return keys;
};

export const inspect = async (directory: string, options: FsckOptions = {}): Promise<FsckReport> => {
  const ledger = await describeDeployment({ directory, kekInputs, nowMs: Date.now });
  const quorum = new QuorumInspection(ledger.origin);
  return runFsck(ledger, { ...options, inspectGroup: (group) => quorum.inspect(group) });
};

/** Everything the tenant "acme" may leave behind. @returns the audit ids of some of its decisions. */
export const fill = async (council: Council): Promise<readonly string[]> => {
  const [operator, mentor] = [council.as("operator"), council.as("mentor")];
  const auditIds: string[] = [];
  for (let turn = 0; turn < 20; turn += 1) {
    const { auditId } = await operator.trust.check({
      action: "write",
      target: `user/${canary}/${turn}`,
      session: `session of ${canary}`,
      subject: `acme/${canary}-${turn % 3}`,
      input: Buffer.from(`the input of ${canary}`),
      keepInput: true,
      idempotencyKey: `key ${canary} ${turn}`,
    });
    auditIds.push(auditId);
    await put(operator, `${canary}/note/${turn % 5}`, { text: canary.repeat(turn + 1) });
  }
  const { publicKey } = generateKeyPairSync("ed25519");
  await put(
    mentor,
    `principal/${canary}`,
    {
      public_keys: [Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url").toString("base64")],
      loa: "observer",
      tenant: "acme",
      active: true,
    },
    { kind: "principal" },
  );
  return auditIds;
};

export const orderErasure = (council: Council, tenant = "acme"): Promise<Proposal> =>
  council.propose(
    {
      id: `erasure/${tenant}`,
      content: json({ tenant, reason: "the contract has ended" }),
      reason: "asked for",
    },
    council.as("root"),
  );

/** Resolves when nothing is left to be done. */
export const untilErased = async (council: Council): Promise<void> => {
  for (let turns = 0; !/"msg":"tenant erased"/.test(council.served.logged()); turns += 1) {
    if (turns > 1000) throw new Error("the tenant was not erased");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  while (council.served.server.ledger.status.kind !== "serving") {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

/** `sigil` against the council's server as Root. */
export const asRoot = async (council: Council, ...words: readonly string[]): Promise<Ended> => {
  const parent = join(council.deployment.directory, "..");
  const pem = council.deployment.privateKeys.root.export({ type: "pkcs8", format: "pem" });
  await writeFile(join(parent, "root.pem"), pem, { mode: 0o600 });
  return sigilHere(words, {
    cwd: parent,
    env: {
      SIGIL_CLIENT_SERVER: council.served.server.target,
      SIGIL_CLIENT_KEY: join(parent, "root.pem"),
      SIGIL_CLIENT_PRINCIPAL: "root",
    },
  });
};
