/**
 * Backups of a server under load: some killed and resumed, some in a new directory and some incremental, some while a
 * signing key is rotated. Each is restored separately, from only the backup and the key, and must be an undamaged
 * ledger that ends at the checkpoint named by the backup. Exit code 0 only if all were. `npm run campaign:backup --
 * --count 50 --seed 7`.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@sigil/client";
import { freePorts, serving, sigil, sigilHere } from "../e2e/command.ts";
import { readOptions } from "./options.ts";
import { createRandom } from "./oracle.ts";

const { values, refuse } = readOptions("campaign:backup [--count N] [--seed S]", "--count 50 --seed 7", {
  count: { type: "string", default: "50" },
  seed: { type: "string", default: "1" },
});
const [count, seed] = [Number(values.count), Number(values.seed)];
if (!Number.isInteger(count) || count < 1 || !Number.isInteger(seed)) refuse();

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Guests that send checks with pauses, and the number of answers they got. */
const load = (target: string) => {
  const connection = connect({ target, tls: "insecure" });
  const state = { acknowledged: 0, stopping: false };
  const ask = async (guest: number): Promise<void> => {
    for (let turn = 0; !state.stopping; turn += 1) {
      const target = `public/${guest}/${turn}/${"x".repeat((turn * 37) % 300)}`;
      const idempotencyKey = turn % 3 === 0 ? `${guest}/${turn}` : "";
      await connection.trust.check({ action: "read", target, idempotencyKey });
      state.acknowledged += 1;
      await wait(50);
    }
  };
  const guests = Array.from({ length: 4 }, (_, guest) => ask(guest));
  const stop = async (): Promise<void> => {
    state.stopping = true;
    await Promise.all(guests);
    connection.close();
  };
  return { state, stop };
};

type Facts = { readonly size: string; readonly checkpoint: string; readonly backup: string };

const mainPath = join(import.meta.dirname, "../../src/main.ts");
const cwd = await mkdtemp(join(tmpdir(), "sigil-backups-"));
const startedMs = performance.now();
const random = createRandom(seed);
const wrongs: string[] = [];
let [kills, resumed, rotations, records] = [0, 0, 0, 0];

const made = await sigil(["init", "--data", "data", "--dev", "--origin", "sigil.campaign"], { cwd });
if (made.exitCode !== 0) throw new Error(made.problems);
const server = await serving(["serve", "--data", "data", ...freePorts], { cwd });
const env = { SIGIL_CLIENT_SERVER: server.target };
const asRoot = ["--key", "data.keys/root.pem", "--principal", "root"];

const sizeIn = async (directory: string): Promise<number> => {
  try {
    const text = await readFile(join(cwd, directory, "manifest.json"), "utf8");
    const { segments } = JSON.parse(text) as { readonly segments: readonly { readonly to: string }[] };
    return Number(segments.at(-1)?.to ?? 0);
  } catch {
    return 0;
  }
};

/** Kills a backup at any moment, or soon after its first segment. */
const killBackup = async (directory: string, words: readonly string[]): Promise<void> => {
  const before = await sizeIn(directory);
  const child = spawn(process.execPath, [mainPath, ...words], {
    cwd,
    env: { ...process.env, ...env },
    stdio: "ignore",
  });
  const closed = once(child, "close");
  if (random() < 0.3) await Promise.race([wait(random() * 1500), closed]);
  else {
    while (child.exitCode === null && (await sizeIn(directory)) === before) await wait(1);
    await wait(random() * 10);
  }
  child.kill("SIGKILL");
  await closed;
  if (child.signalCode === "SIGKILL") kills += 1;
};

/** Sometimes rotates a signing key, destroying the old one, during a backup. */
const rotateSometimes = async (): Promise<void> => {
  if (random() > 0.4) return;
  const role = random() < 0.5 ? "record" : "checkpoint";
  await wait(random() * 60);
  const rotated = await sigilHere(["keys", "rotate", role, ...asRoot], { cwd, env });
  if (rotated.exitCode === 0) rotations += 1;
  else wrongs.push(`rotate ${role}: ${rotated.problems}`);
};

/** Makes one backup and restores it. */
const backUpAndRestore = async (
  round: number,
  directory: string,
  acknowledged: () => number,
): Promise<void> => {
  const words = ["backup", "--to", directory, "--segment-kib", "64", ...asRoot];
  const wrong = (what: string): void => void wrongs.push(`backup ${round}: ${what}`);
  const before = await sizeIn(directory);
  for (let kill = Math.floor(random() * 3); kill > 0; kill -= 1) await killBackup(directory, words);
  if ((await sizeIn(directory)) > before) resumed += 1;
  const known = acknowledged();
  const [done] = await Promise.all([sigilHere([...words, "--json"], { cwd, env }), rotateSometimes()]);
  if (done.exitCode !== 0) return wrong(done.problems);
  const facts = JSON.parse(done.output) as Facts;
  if (Number(facts.size) < known)
    wrong(`holds ${facts.size} records, ${known} were acknowledged before it began`);
  const target = ["--from", directory, "--data", `restored-${round}`, "--kek", "file:data.kek", "--json"];
  const restored = await sigilHere(["restore", ...target], { cwd });
  if (restored.exitCode !== 0) return wrong(restored.problems);
  const found = JSON.parse(restored.output) as Facts;
  if (found.checkpoint !== facts.checkpoint) wrong("was restored to another checkpoint than it names");
  const inspected = await sigilHere(["fsck", "--data", `restored-${round}`, "--json"], { cwd });
  if (inspected.output === "") return wrong(`fsck: ${inspected.problems}`);
  const report = JSON.parse(inspected.output) as { readonly ok: boolean; readonly size: string };
  if (!report.ok || Number(report.size) !== Number(facts.size) + 1) wrong(`fsck: ${inspected.output}`);
  records = Number(facts.size);
  await rm(join(cwd, `restored-${round}`), { recursive: true });
};

/** Writes enough records for a backup to take a while. */
const fill = async (): Promise<void> => {
  using connection = connect({ target: server.target, tls: "insecure", deadlineMs: 60_000 });
  for (let turn = 0; turn < 4; turn += 1) {
    const checks = Array.from({ length: 500 }, (_, index) => ({
      action: "read",
      target: `public/filling/${turn}/${index}/${"x".repeat(300)}`,
    }));
    await connection.trust.batchCheck({ checks });
  }
};

await fill();
const asking = load(server.target);
let directory = "backup-0";
for (let round = 0; round < count && wrongs.length === 0; round += 1) {
  if (random() < 0.3) directory = `backup-${round}`;
  await wait(random() * 300);
  await backUpAndRestore(round, directory, () => asking.state.acknowledged);
  if ((round + 1) % 10 === 0) console.log(`${round + 1} of ${count} backups, ${records} records`);
}
await asking.stop();
await server.stop();
for (const wrong of wrongs) console.error(wrong);
const seconds = Math.round((performance.now() - startedMs) / 1000);
console.log(
  `${count} backups, ${kills} killed, ${resumed} went on from a segment, ${rotations} keys replaced meanwhile, ` +
    `${records} records, ${wrongs.length} wrong, seed ${seed}, ${seconds} s`,
);
if (wrongs.length === 0) await rm(cwd, { recursive: true });
else console.error(`the directories are kept: ${cwd}`);
process.exitCode = wrongs.length === 0 ? 0 : 1;
