/** `sigil restore`: restores a deployment from a backup, on this machine or another one. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { readRegistry } from "../../canon/proposals/registries.ts";
import { restoreDeployment, type Vouched } from "../../deployment/restore.ts";
import { parseCustodySource, type CustodySource } from "../../crypto/custody.ts";
import { parseKekSource, type KekSource } from "../../crypto/kek.ts";
import { randomBytes } from "../../crypto/random.ts";
import { SigilFault } from "../../errors.ts";
import { createDecisionIds } from "../../trust/decision-id.ts";
import { exitCodes, jsonFlag, required, usage, type Arguments, type Command } from "../terminal/command.ts";
import { inspectionOf } from "../../deployment/inspection.ts";
import { Pace } from "../terminal/pace.ts";
import { kekInputsOf } from "../terminal/passphrase.ts";
import { formatPairs } from "../terminal/terminal.ts";

/** Reads files printed by `sigil audit checkpoint` or `sigil witness cosign`. @throws usage. */
const readNotBefore = (given: Arguments): Promise<readonly string[]> =>
  Promise.all(
    given
      .texts("not-before")
      .map((path) => readFile(path, "utf8").catch(() => usage(`--not-before: ${path} cannot be read`))),
  );

/** Makes paths absolute, since the server may be started from another directory. */
const readKek = (given: Arguments): KekSource | undefined => {
  const text = given.text("kek");
  if (text === undefined) return undefined;
  const source = parseKekSource(text);
  return source.kind === "file" ? { kind: "file", path: resolve(source.path) } : source;
};

const readCustody = (given: Arguments): CustodySource | undefined => {
  const text = given.text("custody");
  return text === undefined ? undefined : parseCustodySource(text);
};

const timeOf = ({ timeSeconds }: Vouched): string => new Date(Number(timeSeconds) * 1000).toISOString();

const vouchedPair = (each: Vouched): readonly [string, string] => [
  `witness ${each.witness}`,
  `cosigned size ${each.size}, which it contains, at ${timeOf(each)}`,
];

const vouchedJson = (vouched: readonly Vouched[]) =>
  vouched.map((each) => ({ witness: each.witness, size: String(each.size), time: timeOf(each) }));

const refusals = ["backupRefused", "malformedCheckpoint"];

export const restore: Command = {
  name: "restore",
  about:
    "Restore a deployment from a backup. Everything is verified before DIR appears: every seal, signature, tree node\n" +
    "and index. The restored ledger says in a record of its own that it was restored, from which size and which backup.",
  flags: {
    from: { value: "BACKUP", about: "The backup: a directory, or a file." },
    data: { value: "DIR", about: "The data directory to make." },
    "not-before": {
      value: "FILE",
      multiple: true,
      about: "A checkpoint that you or a witness holds: a backup behind it, or of another past, is refused.",
    },
    kek: {
      value: "SOURCE",
      about:
        "Where the same key-encryption key is on this machine: file:PATH, env:NAME, passphrase or pkcs11:URI.",
    },
    custody: {
      value: "SOURCE",
      about:
        "Where the token with the same signing keys is on this machine, where they are on one: pkcs11:URI.",
    },
    ...jsonFlag,
  },
  examples: [
    "sigil restore --from /backup/sigil --data data --kek file:/secure/place/sigil.kek",
    "sigil restore --from /backup/sigil --data data --not-before last-checkpoint.txt",
  ],
  exits: [
    "0  restored",
    "1  the backup is refused; there is no DIR",
    "2  it could not be restored; there is no DIR",
  ],
  run: async (given, terminal) => {
    const directory = required(given, "data", "DIR").replace(/(?<=.)\/+$/, "");
    const from = required(given, "from", "BACKUP").replace(/(?<=.)\/+$/, "");
    await using kekInputs = kekInputsOf(terminal);
    try {
      const pace = new Pace();
      const notBefore = await readNotBefore(given);
      const made = await restoreDeployment({
        from,
        directory,
        notBefore,
        witnesses: async (ledger, size) => [
          ...(await readRegistry(ledger, size)).registry.witnesses.values(),
        ],
        kekSource: readKek(given),
        custody: readCustody(given),
        kekInputs,
        inspector: inspectionOf,
        newId: createDecisionIds(randomBytes),
        nowMs: Date.now,
        onProgress: (progress) => terminal.progress(pace.describe(progress)),
      });
      terminal.progress("");
      const size = String(made.size);
      const facts = { data: directory, size, backup: made.backup, position: String(made.position) };
      if (given.has("json"))
        terminal.print(
          JSON.stringify({ ...facts, checkpoint: made.checkpoint, vouched: vouchedJson(made.vouched) }),
        );
      else {
        terminal.print(
          formatPairs([
            ["data", facts.data],
            ["records", facts.size],
            ["backup", facts.backup],
            ["restoration record", `at position ${facts.position}`],
            ...made.vouched.map(vouchedPair),
          ]),
        );
      }
      return exitCodes.ok;
    } catch (error) {
      if (!(error instanceof SigilFault) || !refusals.includes(error.error.kind)) throw error;
      terminal.progress("");
      terminal.note(`sigil: ${error.message}`);
      return exitCodes.no;
    }
  },
};
