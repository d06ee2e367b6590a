/**
 * Creates a deployment's data directory, for `init` and `dev`. Validates model, keys, quorum and directory before
 * writing anything.
 */
import { access, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { PublicKey } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import { principalIdBytesMax } from "@sigil/core/limits";
import { looksLike } from "../../canon/proposals/look-alikes.ts";
import {
  ownerName,
  isLevel,
  recordIdFault,
  tenantFault,
  type LevelName,
  canonicalSubject,
  witnessPrefix,
} from "@sigil/core/record";
import type { CustodySource } from "../../crypto/custody.ts";
import { createKekFile, type KekSource } from "../../crypto/kek.ts";
import {
  createKeyFile,
  formatPublicKey,
  parsePublicKeyText,
  readKeyFile,
} from "../../crypto/signing/keyfile.ts";
import { defaultModelPayload } from "../../trust/default-model.ts";
import { parseModel } from "@sigil/core/model";
import { initDeployment, type NamedPrincipal, type NamedWitness } from "../../deployment/open.ts";
import { usage } from "../terminal/command.ts";
import { askNewPassphrase, kekInputsOf } from "../terminal/passphrase.ts";
import type { Terminal } from "../terminal/terminal.ts";

export type Founders = {
  readonly root: NamedPrincipal;
  readonly principals: readonly NamedPrincipal[];
  readonly witnesses: readonly NamedWitness[];
  readonly k: number;
};

export type Setup = Founders & {
  readonly directory: string;
  readonly origin: string;
  readonly kekSource: KekSource;
  /** Default: files. */
  readonly custody?: CustodySource | undefined;
};

export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

const principalOf = (id: string, loa: LevelName, tenant: string, publicKey: PublicKey): NamedPrincipal => ({
  id,
  publicKeys: [publicKey],
  loa,
  tenant,
  active: true,
});

const witnessOf = (id: string, publicKey: PublicKey): NamedWitness => ({
  id,
  publicKey,
  owner: id,
  authority: "",
  description: "",
});

const parseKeyFlag = (flag: string, text: string): PublicKey => {
  try {
    return parsePublicKeyText(text);
  } catch (cause) {
    const rule = `${flag}: "${text}" is not a public key; sigil key new prints one`;
    return fail({ kind: "usage", rule }, { cause });
  }
};

/** The first Root principal, `--root PUBKEY`. */
export const parseRoot = (text: string): NamedPrincipal =>
  principalOf("root", "root", "system", parseKeyFlag("--root", text));

/** `--witness NAME=PUBKEY`. */
export const parseWitness = (text: string): NamedWitness => {
  const at = text.indexOf("=");
  const name = text.slice(0, Math.max(0, at));
  if (recordIdFault(witnessPrefix + name) !== null || name.length > principalIdBytesMax || name.includes("/"))
    usage(`--witness "${text}" must be NAME=PUBKEY, without "/"`);
  return witnessOf(name, parseKeyFlag(`--witness ${name}`, text.slice(at + 1)));
};

/** Ids may contain "=" and ":", so the rest is matched from the end; a key's prefix also has a ":". */
const principalFlag = /^(.+)=([^=:]*):([^=:]*):((?:ed25519:)?[^=:]+=*)$/;

/** `--principal ID=LEVEL:TENANT:PUBKEY`. @param origin the trust domain of SPIFFE ids. */
export const parsePrincipalFlag = (text: string, origin: string): NamedPrincipal => {
  const [, raw = "", level = "", tenant = "", key = ""] = principalFlag.exec(text) ?? [];
  if (raw === "") usage(`--principal "${text}" must be ID=LEVEL:TENANT:PUBKEY`);
  const spelling = canonicalSubject(raw, origin);
  if (spelling.kind === "refused") return usage(`--principal ${raw}: the id ${spelling.rule}`);
  const id = spelling.text;
  if (id.startsWith(witnessPrefix))
    usage(`--principal "${id}": a name that begins with witness/ is a witness's`);
  if (!isLevel(level)) return usage(`--principal ${id}: "${level}" is not a level of access`);
  const fault = tenantFault(tenant);
  if (fault !== null) usage(`--principal ${id}: the tenant ${fault}`);
  return principalOf(id, level, tenant, parseKeyFlag(`--principal ${id}`, key));
};

const requireDistinct = (what: string, names: readonly string[]): void => {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) usage(`${what} "${twice}" is named twice`);
};

/** Keys and names must be distinct, so that each witness is one vote. */
const checkFounders = ({ root, principals, witnesses, k }: Founders): void => {
  if (witnesses.length === 0) usage("--witness NAME=PUBKEY is needed, at least once");
  if (k > witnesses.length || k < 1) {
    usage(`--quorum must be 1 to ${witnesses.length}, the number of witnesses`);
  }
  // Names are also owners, which are compared without case: two equal ones would count once.
  requireDistinct(
    "witness",
    witnesses.map(({ owner }) => ownerName(owner)),
  );
  const [alike] = witnesses.flatMap(({ owner }, at) =>
    witnesses
      .slice(at + 1)
      .filter((other) => looksLike(owner, other.owner))
      .map((other) => [owner, other.owner] as const),
  );
  if (alike !== undefined) usage(`witness "${alike[0]}" and witness "${alike[1]}" look alike`);
  requireDistinct(
    "witness key",
    witnesses.map(({ publicKey }) => formatPublicKey(publicKey)),
  );
  requireDistinct(
    "principal",
    [root, ...principals].map(({ id }) => id),
  );
};

/** @throws directoryNotEmpty. */
export const requireEmpty = async (directory: string): Promise<void> => {
  if (!(await exists(directory))) return;
  if ((await readdir(directory)).length > 0) fail({ kind: "directoryNotEmpty", path: directory });
};

/** @returns the genesis record's hash, and whether a key-encryption key file was created. */
export const makeDeployment = async (setup: Setup, terminal: Terminal) => {
  checkFounders(setup);
  // Validate strictly, as the server does: with an invalid model everything would be denied.
  parseModel(defaultModelPayload);
  await requireEmpty(setup.directory);
  const { kekSource } = setup;
  const madeKek = kekSource.kind === "file" && !(await exists(kekSource.path));
  if (madeKek) await createKekFile(kekSource.path);
  await using kekInputs = kekInputsOf(terminal, { ask: askNewPassphrase });
  const made = await initDeployment({
    ...setup,
    model: defaultModelPayload,
    kekInputs,
    nowMs: Date.now,
  });
  return { ...made, madeKek: madeKek || made.madeKek };
};

/** A principal of every level in one tenant, and Root of tenant system. */
const samples: readonly (readonly [id: string, level: LevelName, tenant: string])[] = [
  ["root", "root", "system"],
  ["admin", "root", "demo"],
  ["mentor", "mentor", "demo"],
  ["operator", "operator", "demo"],
  ["observer", "observer", "demo"],
  ["guest", "guest", "demo"],
];
export const sampleWitnesses: readonly string[] = ["witness-1", "witness-2", "witness-3"];
const sampleQuorum = 2;

/** Reads or creates the key of that name, so that an interrupted setup can be resumed. */
const keyNamed = async (directory: string, name: string): Promise<PublicKey> => {
  const path = join(directory, `${name}.pem`);
  const { publicKey } = (await exists(path)) ? await readKeyFile(path) : await createKeyFile(path);
  return publicKey;
};

/** Sample principals and witnesses, with private keys in `keyDirectory`. */
export const sampleFounders = async (keyDirectory: string): Promise<Founders> => {
  await mkdir(keyDirectory, { recursive: true, mode: 0o700 });
  const principals: NamedPrincipal[] = [];
  for (const [id, level, tenant] of samples) {
    principals.push(principalOf(id, level, tenant, await keyNamed(keyDirectory, id)));
  }
  const witnesses: NamedWitness[] = [];
  for (const name of sampleWitnesses) witnesses.push(witnessOf(name, await keyNamed(keyDirectory, name)));
  const [root, ...others] = principals;
  if (root === undefined) return usage("there are no sample principals");
  return { root, principals: others, witnesses, k: sampleQuorum };
};

export const sampleNames: readonly string[] = samples.map(([id]) => id);
