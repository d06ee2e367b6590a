/**
 * A deployment's data directory: `deployment.json` (origin, genesis hash, source of the key-encryption key), `keys/`,
 * `modules/` (code by digest), `ledger/` (LevelDB) and `anchor`. Initialization writes the genesis group, and
 * `deployment.json` last, so a directory that has it is complete. Source: docs/operating/running.md.
 */
import { hkdfSync } from "node:crypto";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fromHex, parseHash, toHex, utf8Encode, type Hash, type PublicKey } from "@sigil/core/bytes";
import type { CborMap } from "@sigil/core/cbor";
import {
  enrolPrincipal,
  formatGenesis,
  formatModule,
  formatPrincipal,
  formatQuorum,
  formatWitness,
  parseGenesis,
  type PrincipalPayload,
  type WitnessPayload,
  systemTenant,
  type RecordBody,
  activeModelId,
  genesisId,
  modulePrefix,
  quorumId,
  systemBody,
  witnessPrefix,
} from "@sigil/core/record";
import { fail, SigilFault } from "../errors.ts";
import { checkKeyName } from "@sigil/core/merkle";
import {
  createCustody,
  formatCustodySource,
  openCustody,
  parseCustodySource,
  type Custody,
  type CustodySource,
} from "../crypto/custody.ts";
import {
  deploymentFormat,
  firstKeys,
  isMissing,
  readDescription,
  requireUnchanged,
  writeDescription,
  type Description,
} from "./file.ts";
import { createKek, loadKek, type KekInputs, type KekSource } from "../crypto/kek.ts";
import { checkPrivateTree } from "../crypto/files/private-tree.ts";
import { type Ed25519Role, checkPublicKey } from "@sigil/core/keys";
import type { DataKey } from "../crypto/seal.ts";
import { fileAnchor, type Anchor } from "../ledger/append/anchor.ts";
import { createLedger } from "../ledger/create.ts";
import { Ledger, type LedgerObserver, type LedgerOptions } from "../ledger/ledger.ts";
import { readHello, type BuiltInModule } from "../modules/built-in.ts";
import { CodeFiles } from "../modules/code-files.ts";
import { openLevelStore } from "../storage/level.ts";
import type { Store } from "../storage/store.ts";

/** A principal with its canonical id; the first Root's must be valid in a record id. */
export type NamedPrincipal = Omit<PrincipalPayload, "id"> & { readonly id: string };
export type NamedWitness = WitnessPayload & { readonly id: string };

export type InitOptions = {
  readonly directory: string;
  readonly origin: string;
  /** The first Root principal. */
  readonly root: NamedPrincipal;
  /** Further initial principals. */
  readonly principals: readonly NamedPrincipal[];
  readonly witnesses: readonly NamedWitness[];
  readonly k: number;
  /** A trust_model payload. */
  readonly model: CborMap;
  readonly kekSource: KekSource;
  /** Default: files. Labels on a token are prefixed with the origin unless the URI names an `object`. */
  readonly custody?: CustodySource | undefined;
  readonly kekInputs: KekInputs;
  readonly nowMs: () => number;
};

export type Initialised = {
  readonly genesis: Hash;
  readonly recordKey: PublicKey;
  readonly checkpointKey: PublicKey;
  /** Whether a key-encryption key was created on a token. */
  readonly madeKek: boolean;
  /** Location of the signing keys, as in deployment.json. */
  readonly custody: string;
};

/** The records of the first group, in order, each linked to the genesis record. */
const genesisBodies = (
  options: InitOptions,
  keys: Record<Ed25519Role, PublicKey>,
  hello: BuiltInModule,
): readonly RecordBody[] => {
  const { origin, root, witnesses, k, model } = options;
  // These keys are enrolled without a quorum, so weak ones must be refused here.
  for (const { publicKey } of witnesses) checkPublicKey(publicKey);
  for (const { publicKeys } of [root, ...options.principals]) publicKeys.forEach(checkPublicKey);
  const ts = options.nowMs();
  const body = (kind: string, id: string, payload: CborMap, schemaVersion = 1): RecordBody =>
    systemBody({ kind, schemaVersion, id, ts, payload });
  const named = { origin, root: { ...formatPrincipal(root), id: root.id }, k, model, keys, format: 1 };
  const genesis = formatGenesis(
    parseGenesis({
      ...named,
      witnesses: witnesses.map((witness) => ({ id: witness.id, ...formatWitness(witness) })),
    }),
  );
  const quorum = formatQuorum({
    k,
    witnesses: witnesses.map(({ id }) => id),
    epoch: 1,
    proposerMayAttest: false,
  });
  return [
    body("genesis", genesisId, genesis),
    body("trust_model", activeModelId, model),
    body("quorum", quorumId, quorum),
    ...witnesses.map((witness) => body("witness", witnessPrefix + witness.id, formatWitness(witness))),
    ...[root, ...options.principals].map(({ id, ...principal }) => {
      const enrolment = enrolPrincipal(id, principal);
      return body("principal", enrolment.id, enrolment.payload, enrolment.schemaVersion);
    }),
    body("module", modulePrefix + hello.name, formatModule(hello.payload)),
  ];
};

/** Derived from a tenant's first data key, so that it is destroyed with it. */
const derivedKey = async (custody: Custody, tenant: string, purpose: string): Promise<Uint8Array> => {
  const first: DataKey = await custody.dataKeys.current(tenant);
  const { dataKey } = first.keyVersion === 1 ? first : await custody.dataKeys.at(tenant, 1);
  return new Uint8Array(hkdfSync("sha256", dataKey, new Uint8Array(0), utf8Encode(purpose), 32));
};

type Parts = {
  readonly origin: string;
  readonly genesis: Hash;
  readonly custody: Custody;
  readonly anchor: Anchor;
};

const ledgerOptions = (
  { origin, genesis, custody, anchor }: Parts,
  openStore: () => Promise<Store>,
  nowMs: () => number,
): LedgerOptions => ({
  origin,
  genesis,
  openStore,
  anchor,
  signingKeys: custody.signingKeys,
  dataKeys: custody.dataKeys,
  /** The key of a tenant's blind tags. */
  indexKey: (tenant) => derivedKey(custody, tenant, "sigil/index/v1"),
  summaryKey: () => derivedKey(custody, systemTenant, "sigil/summary/v1"),
  nowMs,
});

const requireEmpty = async (directory: string): Promise<void> => {
  try {
    if ((await readdir(directory)).length > 0) fail({ kind: "directoryNotEmpty", path: directory });
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  await mkdir(directory, { recursive: true, mode: 0o700 });
};

/** Adds the label prefix to the URI, so that deployment.json is independent of the origin. */
const custodyOf = ({ custody = { kind: "file" }, origin }: InitOptions): CustodySource =>
  custody.kind === "file" ? custody : { ...custody, uri: { object: origin, ...custody.uri } };

/** @throws directoryNotEmpty, malformedRecord, malformedModel, invalidConfig, tokenUnavailable. */
export const initDeployment = async (options: InitOptions): Promise<Initialised> => {
  checkKeyName(options.origin);
  await requireEmpty(options.directory);
  await checkPrivateTree(options.directory, options.kekInputs.onShared);
  const { kek, reference, made } = await createKek(options.kekSource, options.kekInputs);
  const source = custodyOf(options);
  const custody = await createCustody(join(options.directory, firstKeys), kek, {
    source,
    inputs: options.kekInputs,
  });
  const keys = {
    record: custody.signingKeys.newest("record").publicKey,
    checkpoint: custody.signingKeys.newest("checkpoint").publicKey,
  };
  const hello = await readHello();
  await new CodeFiles(options.directory).put(hello.digest, hello.bytes);
  const anchor = fileAnchor(join(options.directory, "anchor"));
  const store = await openLevelStore(join(options.directory, "ledger"));
  let genesis: Hash;
  try {
    const parts = { origin: options.origin, genesis: parseHash(new Uint8Array(32)), custody, anchor };
    const ledger = ledgerOptions(parts, async () => store, options.nowMs);
    genesis = await createLedger(genesisBodies(options, keys, hello), ledger, store);
  } finally {
    await store.close();
  }
  await writeDescription(options.directory, {
    format: deploymentFormat,
    origin: options.origin,
    genesis: toHex(genesis),
    kek: reference,
    keys: firstKeys,
    custody: formatCustodySource(source),
  });
  return {
    genesis,
    recordKey: keys.record,
    checkpointKey: keys.checkpoint,
    madeKek: made,
    custody: formatCustodySource(source),
  };
};

export type OpenOptions = {
  readonly directory: string;
  readonly kekInputs: KekInputs;
  readonly nowMs: () => number;
  readonly openStore?: () => Promise<Store>;
  readonly observe?: LedgerObserver;
  /** Whether checkpoints that leave as proofs are signed by ML-DSA-44 as well. */
  readonly mldsa44?: boolean;
  /** The description if already read, of any format; for migrations. */
  readonly description?: Description;
};

/** Opens the store, which takes its lock; then checks that the description read without the lock is unchanged. */
const openOwnStore = async (directory: string, description: Description): Promise<Store> => {
  // A missing directory is not created: an empty ledger would be a different one.
  const store = await openLevelStore(join(directory, "ledger"), { onMissing: "fail" });
  try {
    await requireUnchanged(directory, description);
  } catch (error) {
    await store.close();
    throw error;
  }
  return store;
};

/**
 * The ledger's options without opening its store, for `fsck`, which opens it itself. @throws invalidConfig if ML-DSA-44
 * is asked of keys on a token.
 */
export const describeDeployment = async (options: OpenOptions): Promise<LedgerOptions> => {
  const { directory } = options;
  const description = options.description ?? (await readDescription(directory));
  await checkPrivateTree(directory, options.kekInputs.onShared);
  const kek = await loadKek(description.kek, options.kekInputs);
  const source = parseCustodySource(description.custody);
  const { mldsa44 = false } = options;
  if (mldsa44 && source.kind === "pkcs11") {
    const rule = "needs signing keys in files: this deployment's are on a PKCS #11 token";
    fail({ kind: "invalidConfig", key: "checkpoint_mldsa44", rule });
  }
  const custody = await openCustody(join(directory, description.keys), kek, {
    source,
    inputs: options.kekInputs,
  });
  const parts = {
    origin: description.origin,
    genesis: parseHash(fromHex(description.genesis)),
    custody,
    anchor: fileAnchor(join(directory, "anchor")),
  };
  const openStore = options.openStore ?? (() => openOwnStore(directory, description));
  const base = { ...ledgerOptions(parts, openStore, options.nowMs), mldsa44 };
  return options.observe === undefined ? base : { ...base, observe: options.observe };
};

/**
 * @throws invalidConfig, notInitialised, looseMode, wrongKeyEncryptionKey, storeLocked, ledgerCorrupt,
 * ledgerBehindAnchor.
 */
export const openDeployment = async (options: OpenOptions): Promise<Ledger> =>
  Ledger.open(await describeDeployment(options));

/** Whether the directory holds a deployment. */
export const isInitialised = async (directory: string): Promise<boolean> => {
  try {
    await readDescription(directory);
    return true;
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "notInitialised") return false;
    throw error;
  }
};
