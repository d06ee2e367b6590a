/** `sigil migrate`: migrates a data directory of an older format, or rehearses that on a copy. */
import { migrateDeployment, type Migrated, type MigrateOptions } from "../../deployment/migrate.ts";
import { rehearseMigration } from "../../deployment/rehearse.ts";
import type { KekInputs } from "../../crypto/kek.ts";
import { SigilFault } from "../../errors.ts";
import { exitCodes, jsonFlag, required, usage, type Command } from "../terminal/command.ts";
import { inspectionOf } from "../../deployment/inspection.ts";
import { Pace } from "../terminal/pace.ts";
import { kekInputsOf } from "../terminal/passphrase.ts";
import { formatPairs, type Terminal } from "../terminal/terminal.ts";

const optionsOf = (directory: string, kekInputs: KekInputs, terminal: Terminal): MigrateOptions => {
  const pace = new Pace();
  return {
    directory,
    kekInputs,
    nowMs: Date.now,
    inspector: inspectionOf,
    onProgress: (stage, { step, done, total }) =>
      terminal.progress(pace.describe({ step: `${stage}: ${step}`, done, total })),
  };
};

const outcomeOf = ({ from, to, resumed }: Migrated, isRehearsal: boolean): string => {
  if (from === to) return `format ${to}: nothing to do`;
  if (isRehearsal) return `format ${from} would become ${to}; nothing was changed`;
  return `format ${from} became ${to}${resumed ? ", going on where a run was cut off" : ""}`;
};

const formatMigrated = (directory: string, migrated: Migrated, isRehearsal: boolean): string =>
  formatPairs([
    ["data", directory],
    ["outcome", outcomeOf(migrated, isRehearsal)],
    ...migrated.steps.map(({ from, to, name, about }) => [`${from} to ${to}`, `${name}: ${about}`] as const),
    ["records", migrated.from === migrated.to ? undefined : `${migrated.size}, all verified`],
  ]);

export const migrate: Command = {
  name: "migrate",
  about:
    "Bring a data directory of an older format, which nobody serves, to the one of this program. Every record is verified\n" +
    "before anything is changed and again afterwards. Interrupted at any moment, run it again. There is no way back but a\n" +
    "backup: make one first, and rehearse with --dry-run.",
  flags: {
    data: { value: "DIR", about: "The data directory." },
    "dry-run": { about: "Do all of it on a copy, which is removed afterwards; DIR is only read." },
    scratch: { value: "DIR", about: "Where the copy of --dry-run goes; default DIR.rehearsal." },
    ...jsonFlag,
  },
  examples: ["sigil migrate --data data --dry-run", "sigil migrate --data data"],
  exits: [
    "0  migrated, or nothing to do; with --dry-run: it would succeed",
    "1  the ledger is damaged; nothing was changed unless an earlier run had begun",
    "2  it could not run, or not to its end: run it again",
  ],
  run: async (given, terminal) => {
    const directory = required(given, "data", "DIR").replace(/(?<=.)\/+$/, "");
    const isRehearsal = given.has("dry-run");
    const scratch = given.text("scratch") ?? `${directory}.rehearsal`;
    if (!isRehearsal && given.has("scratch")) usage("--scratch goes with --dry-run");
    await using kekInputs = kekInputsOf(terminal);
    const options = optionsOf(directory, kekInputs, terminal);
    try {
      const migrated = await (isRehearsal ? rehearseMigration(options, scratch) : migrateDeployment(options));
      terminal.progress("");
      const facts = { data: directory, dryRun: isRehearsal, ...migrated, size: String(migrated.size) };
      terminal.print(
        given.has("json") ? JSON.stringify(facts) : formatMigrated(directory, migrated, isRehearsal),
      );
      return exitCodes.ok;
    } catch (error) {
      if (!(error instanceof SigilFault) || error.error.kind !== "ledgerCorrupt") throw error;
      terminal.progress("");
      terminal.note(`sigil: ${error.message}`);
      return exitCodes.no;
    }
  },
};
