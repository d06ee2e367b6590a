/**
 * The highest number of one caller of one ledger, in a file of its own. Written beside it, synced and renamed, so that
 * a crash leaves the old one or the new one. Several processes may share it: each write begins with what is there,
 * under a lock that is held for that long; one that a crash left behind is taken over after `lockMsMax`.
 */
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { higherOf, type CallerNumber, type NumberStore } from "./remember.ts";

/** Whose numbers: each names the same for as long as it lives. */
export type NumberedCaller = {
  /** The deployment's origin. */
  readonly origin: string;
  readonly tenant: string;
  /** The principal's id. */
  readonly caller: string;
};

export type RememberedNumber = NumberedCaller & CallerNumber;

const version = 1;
const fileBytesMax = 64 << 10;
/** A lock is held for one read and one write of a small file. */
const lockMsMax = 10_000;
const lockPauseMs = 5;

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT";

/** @throws Error that names the file and the rule. */
const parseNumberFile = (text: string, path: string): RememberedNumber => {
  const refuse = (rule: string): never => {
    throw new Error(`${path}: ${rule}`);
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refuse("is no JSON");
  }
  const fields = (typeof value === "object" && value !== null ? value : {}) as Readonly<
    Record<string, unknown>
  >;
  if (fields["version"] !== version) return refuse(`is no file of remembered numbers, version ${version}`);
  const textOf = (name: string): string => {
    const field = fields[name];
    return typeof field === "string" ? field : refuse(`${name} must be text`);
  };
  const numberOf = (name: string): bigint =>
    /^\d{1,20}$/.test(textOf(name)) ? BigInt(textOf(name)) : refuse(`${name} must be decimal text`);
  return {
    origin: textOf("origin"),
    tenant: textOf("tenant"),
    caller: textOf("caller"),
    seq: numberOf("seq"),
    position: numberOf("position"),
    auditId: textOf("audit_id"),
  };
};

const formatNumberFile = ({ origin, tenant, caller, seq, position, auditId }: RememberedNumber): string =>
  `${JSON.stringify({ version, origin, tenant, caller, seq: String(seq), position: String(position), audit_id: auditId })}\n`;

/** @returns undefined if there is none. @throws Error that names the file and the rule. */
export const readNumberFile = async (path: string): Promise<RememberedNumber | undefined> => {
  try {
    if ((await stat(path)).size > fileBytesMax) throw new Error(`${path}: is no file of remembered numbers`);
    return parseNumberFile(await readFile(path, "utf8"), path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
};

const syncDirectory = async (path: string): Promise<void> => {
  // Windows opens no directories.
  const directory = await open(dirname(path), "r").catch(() => undefined);
  try {
    await directory?.sync().catch(() => {});
  } finally {
    await directory?.close();
  }
};

const replaceFile = async (path: string, text: string): Promise<void> => {
  const beside = `${path}.new`;
  const file = await open(beside, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
  await syncDirectory(path);
};

/** Whether a lock is there for longer than anybody holds one. */
const isLeft = async (lock: string): Promise<boolean> => {
  try {
    return Date.now() - (await stat(lock)).mtimeMs > lockMsMax;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
};

const withLock = async <Result>(path: string, work: () => Promise<Result>): Promise<Result> => {
  const lock = `${path}.lock`;
  for (;;) {
    const held = await open(lock, "wx", 0o600).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "EEXIST") return undefined;
      throw error;
    });
    if (held !== undefined) {
      await held.close();
      break;
    }
    // Two who take it over at once lose at most one of two numbers that both hold in memory: the next write has it.
    if (await isLeft(lock)) await rm(lock, { force: true });
    else await pause(lockPauseMs);
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
};

/** @throws Error from `load` and `save` if the file is of another caller or ledger, or is none. */
export const fileNumbers = (path: string, whose: NumberedCaller): NumberStore => {
  const load = async (): Promise<CallerNumber | undefined> => {
    const held = await readNumberFile(path);
    if (held === undefined) return undefined;
    for (const name of ["origin", "tenant", "caller"] as const) {
      if (held[name] !== whose[name])
        throw new Error(`${path}: is of ${name} "${held[name]}", and not of "${whose[name]}"`);
    }
    const { seq, position, auditId } = held;
    return { seq, position, auditId };
  };
  return {
    load,
    save: (number) =>
      withLock(path, async () => {
        const held = await load();
        const newest = higherOf(held, number);
        if (newest !== held) await replaceFile(path, formatNumberFile({ ...whose, ...newest }));
        return newest;
      }),
  };
};
