/**
 * `sigil backup`: copies a running deployment, completely the first time and incrementally after that. Resumes an
 * interrupted stream at the last complete segment, as long as each attempt completes one.
 */
import { readFile } from "node:fs/promises";
import { SigilError, type BackupResponse, type SigilConnection } from "@sigil/client";
import { parseHash, parsePublicKey, utf8Decode } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import { loadKek, parseKekSource, type KekReference } from "../../crypto/kek.ts";
import { randomBytes } from "../../crypto/random.ts";
import type { BackupHead } from "../../deployment/backup/backup.ts";
import { isBackupFile, openParts, packParts } from "../../deployment/backup/file.ts";
import { BackupDirectory } from "../../deployment/backup/directory.ts";
import { BackupWriter } from "../../deployment/backup/writer.ts";
import { nameBackup, sizeOfSegments, type Manifest } from "../../deployment/backup/manifest.ts";
import { createDecisionIds } from "../../trust/decision-id.ts";
import { exitCodes, jsonFlag, required, usage, wholeNumber, type Command } from "../terminal/command.ts";
import { connectionFlags, describeCallError, withConnection } from "../call/connection.ts";
import { Pace } from "../terminal/pace.ts";
import { formatPairs, type Terminal } from "../terminal/terminal.ts";

type Task = {
  readonly connection: SigilConnection;
  readonly directory: BackupDirectory;
  readonly terminal: Terminal;
  readonly withKek: boolean;
  readonly segmentBytesMax: number | undefined;
};

const notABackup = (rule: string): never =>
  fail({ kind: "backupRefused", backup: "what the server sends", rule });

const headOf = (part: BackupResponse["part"]): BackupHead => {
  if (part?.$case !== "head") return notABackup("it does not begin with a head");
  const { origin, genesis, format, ledgerSize, checkpoint, checkpointKeys } = part.value;
  const keys = checkpointKeys.map(parsePublicKey);
  return { origin, genesis: parseHash(genesis), format, size: ledgerSize, checkpoint, checkpointKeys: keys };
};

/** Reads this machine's key-encryption key, if it opens the backup. @throws usage. */
const readOwnKek = async (content: Uint8Array, { environment }: Terminal): Promise<Uint8Array> => {
  const { kek } = JSON.parse(utf8Decode(content)) as { readonly kek: KekReference };
  const source = parseKekSource(kek.source);
  if (source.kind !== "file") return usage(`--with-kek takes a key in a file; this one is ${kek.source}`);
  await loadKek(kek, { env: environment, askPassphrase: () => Promise.resolve(new Uint8Array(0)) });
  return readFile(source.path);
};

const begin = (task: Task, head: BackupHead): Promise<BackupWriter> => {
  const { directory, terminal, segmentBytesMax } = task;
  const ids = createDecisionIds(randomBytes);
  const pace = new Pace();
  const onProgress = (done: bigint): void =>
    terminal.progress(pace.describe({ step: "records", done, total: head.size }));
  return BackupWriter.begin({
    directory,
    head,
    newId: () => ids(Date.now()),
    nowMs: Date.now,
    segmentBytesMax,
    onProgress,
  });
};

/** Receives one stream, from the last complete segment to its end. */
const receive = async (task: Task): Promise<Manifest> => {
  const { connection, directory } = task;
  const fromSize = directory.manifest === undefined ? 0n : sizeOfSegments(directory.manifest);
  let writer: BackupWriter | undefined;
  try {
    for await (const { part } of connection.backup.backup({ fromSize })) {
      if (writer === undefined) writer = await begin(task, headOf(part));
      else if (part?.$case === "chunk") await writer.take(part.value);
      else if (part?.$case === "end") {
        const { bytes, sha256 } = part.value;
        if (task.withKek) {
          const description = writer.description ?? notABackup("it has no deployment.json");
          await writer.addKek(await readOwnKek(description, task.terminal));
        }
        return await writer.finish({ bytes: Number(bytes), sha256 });
      } else notABackup("a part is out of place");
    }
    return notABackup("it breaks off before its end");
  } finally {
    await writer?.abandon();
  }
};

/** False if the deployment keeps its signing keys on a token. */
const holdsSigningKeys = ({ state }: Manifest): boolean =>
  (state?.files ?? []).some(({ path }) => path.startsWith("keys/record-"));

const brokenOff = ["UNAVAILABLE", "UNAUTHENTICATED", "CANCELLED"];

/** Retries as long as each attempt completes a segment: tokens expire, servers restart. */
const receiveAll = async (task: Task): Promise<Manifest> => {
  for (;;) {
    const before = task.directory.manifest?.segments.length ?? 0;
    try {
      return await receive(task);
    } catch (error) {
      if (!(error instanceof SigilError) || !brokenOff.includes(error.codeName)) throw error;
      if ((task.directory.manifest?.segments.length ?? 0) === before) throw error;
      await task.directory.sweep();
      task.terminal.progress(`${describeCallError(error)?.split("\n")[0] ?? ""}: going on`);
    }
  }
};

export const backup: Command = {
  name: "backup",
  about:
    "Copy a running deployment into a directory or one file, encrypted as it lies on disk: everything the first time, after\n" +
    "that what is new. Each part is verified before it counts; killed at any moment, the next run goes on. The key-encryption key is\n" +
    "not in it unless asked for: without that key nobody can restore. Takes level Root of tenant system.",
  flags: {
    to: {
      value: "DIR|FILE",
      about: "The backup directory, made at the first backup; or one file, whose name ends in .tar.",
    },
    "with-kek": {
      about: "Also the key-encryption key, from its file on this machine: who has the backup reads it all.",
    },
    "segment-kib": {
      value: "N",
      about: "Begin a new segment past this many KiB, 64 to 1048576; default 65536.",
    },
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil backup --to /backup/sigil --key root.pem --principal root",
    "sigil backup --to /backup/sigil --key root.pem --principal root   # later: what is new",
    "sigil backup --to /backup/sigil.tar --key root.pem --principal root",
  ],
  exits: [
    "0  the backup is whole and holds everything",
    "2  it could not be brought to its end; run it again",
  ],
  run: async (given, terminal) => {
    const path = required(given, "to", "DIR|FILE").replace(/(?<=.)\/+$/, "");
    const kib = given.text("segment-kib");
    const segmentBytesMax =
      kib === undefined ? undefined : wholeNumber(kib, "segment-kib", [64, 1_048_576]) * 1024;
    const isFile = await isBackupFile(path);
    await using directory = await BackupDirectory.open(isFile ? await openParts(path) : path);
    const before = directory.manifest === undefined ? 0n : sizeOfSegments(directory.manifest);
    const manifest = await withConnection(given, terminal, (connection) =>
      receiveAll({ connection, directory, terminal, withKek: given.has("with-kek"), segmentBytesMax }),
    );
    if (isFile) {
      terminal.progress(`backup: packing ${path}`);
      await packParts(path);
    }
    terminal.progress("");
    const size = sizeOfSegments(manifest);
    const facts = {
      backup: nameBackup(manifest),
      origin: manifest.origin,
      genesis: manifest.genesis,
      size: String(size),
      added: String(size - before),
      checkpoint: manifest.state?.checkpoint ?? "",
    };
    if (given.has("json")) terminal.print(JSON.stringify(facts));
    else {
      terminal.print(
        formatPairs([
          ["backup", facts.backup],
          ["origin", facts.origin],
          ["genesis", facts.genesis],
          ["records", `${facts.size} (${facts.added} new)`],
        ]),
      );
      if (!given.has("with-kek"))
        terminal.note("The key-encryption key is not in it: keep it elsewhere, and keep it.");
      if (!holdsSigningKeys(manifest)) {
        terminal.note(
          "The signing keys are on a token and not in it: a restore needs that token, with the keys of now on it.",
        );
      }
    }
    return exitCodes.ok;
  },
};
