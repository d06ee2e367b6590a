/**
 * `npm run format:fixture -- --to test/data/formats/N.json.gz`: archives a small data directory written by this
 * program, to test that later versions can open it. Made once, at the release of a format: a fixture must have been
 * written by a released program. `--program FILE` names the main.ts of another checkout, for an older format.
 *
 * The archive is gzipped JSON: `files` (path → base64) and `facts`, expected values. Its keys are only for this test
 * data; docs/design/0008-data-formats.md.
 */
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { repository } from "./run.ts";

const { values } = parseArgs({
  options: { to: { type: "string" }, program: { type: "string", default: join(repository, "src/main.ts") } },
});
if (values.to === undefined) throw new Error("--to FILE is needed");
const to = resolve(values.to);
const program = resolve(values.program);

const kekName = "FORMATS_KEK";
const kek = randomBytes(32).toString("base64");
const cwd = await mkdtemp(join(tmpdir(), "sigil-format-"));
// The other checkout pins its own version of Node.
const node = join(dirname(program), "../node_modules/.bin/node");
const env: Record<string, string> = { PATH: process.env["PATH"] ?? "", [kekName]: kek };
process.umask(0o077);

const attempt = (words: readonly string[], input = "") =>
  spawnSync(node, [program, ...words], { cwd, env, input, encoding: "utf8" });

const run = (words: readonly string[], input = ""): string => {
  const { status, stdout, stderr } = attempt(words, input);
  if (status !== 0) throw new Error(`sigil ${words.join(" ")} ended with ${status}: ${stderr}`);
  return stdout;
};

/** An older program may lack a command, which is then skipped. */
const has = (name: string): boolean =>
  attempt([...name.split(" "), "--help"]).stdout.startsWith(`sigil ${name}`);

const as = (who: string): readonly string[] => ["--key", `${who}.pem`, "--principal", who];

const init = (): string => {
  for (const name of ["root", "operator", "leaver", "alice"]) run(["key", "new", `${name}.pem`]);
  const keyOf = (name: string): string => run(["key", "show", `${name}.pem`]).trim();
  const founders = ["--root", keyOf("root"), "--witness", `alice=${keyOf("alice")}`, "--quorum", "1"];
  const operators = [
    ["--principal", `operator=operator:acme:${keyOf("operator")}`],
    ["--principal", `leaver=operator:gone:${keyOf("leaver")}`],
  ].flat();
  const where = ["--data", "data", "--origin", "formats.test", "--kek", `env:${kekName}`];
  const made = run(["init", ...where, ...founders, ...operators, "--json"]);
  return (JSON.parse(made) as { readonly genesis: string }).genesis;
};

type Decision = { readonly tenant: string; readonly auditId: string };

/** Erases a tenant with decisions, a record and an idempotent call. */
const erase = (): void => {
  const words = ["--action", "read", "--target", "user/leaver/plan", "--idempotency-key", "once"];
  attempt(["check", ...words, ...as("leaver")]);
  run(["canon", "put", "plan", "--kind", "note", "--json-file", "-", ...as("leaver")], '{"text":"leave"}');
  const reason = ["--reason", "the contract has ended"];
  const proposed = run(["keys", "destroy-tenant", "gone", ...reason, "--json", ...as("root")]);
  const { proposal } = JSON.parse(proposed) as { readonly proposal: { readonly id: string } };
  run(["attest", proposal.id, "--key", "alice.pem", "--witness", "alice", "--yes"]);
  // Its keys are destroyed after the reply.
  for (let tries = 0; !run(["keys", "list", "--tenant", "gone", ...as("root")]).includes("destroyed");) {
    tries += 1;
    if (tries > 100) throw new Error("the tenant was not erased");
  }
};

/** Writes a few records of every kind. @returns the decisions. */
const fill = (): readonly Decision[] => {
  const ask = (tenant: string, words: readonly string[]): Decision => {
    const { stdout } = attempt(["check", "--json", ...words]);
    return { tenant, auditId: (JSON.parse(stdout) as Decision).auditId };
  };
  const asked = ["docs", "news"].map((name) =>
    ask("public", ["--action", "read", "--target", `public/${name}`, "--idempotency-key", `once-${name}`]),
  );
  for (const target of ["user/notes", "payment/7"]) {
    asked.push(ask("acme", ["--action", "write", "--target", target, ...as("operator")]));
  }
  if (has("canon put")) {
    for (const text of ["one", "two"]) {
      const words = ["canon", "put", "notes/1", "--kind", "note", "--json-file", "-", ...as("operator")];
      run(words, JSON.stringify({ text }));
    }
  }
  if (has("keys destroy-tenant")) erase();
  if (has("keys rotate")) {
    for (const role of ["record", "checkpoint"]) run(["keys", "rotate", role, ...as("root")]);
  }
  asked.push(ask("public", ["--action", "read", "--target", "public/last"]));
  return asked;
};

const serve = async () => {
  const ports = ["--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0"];
  const child = spawn(node, [program, "serve", "--data", "data", ...ports], {
    cwd,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  for await (const line of createInterface({ input: child.stdout })) {
    const { msg, target } = JSON.parse(line) as { readonly msg?: string; readonly target?: string };
    if (msg !== "serving" || target === undefined) continue;
    const stop = async (): Promise<void> => {
      child.kill("SIGTERM");
      await closed;
    };
    return { target, stop };
  }
  throw new Error("sigil serve ended");
};

const pack = async (): Promise<Record<string, string>> => {
  const entries = await readdir(cwd, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  // LevelDB rewrites its LOG at every open.
  const kept = paths.filter((path) => !/\/LOG(?:\.old)?$/.test(path)).toSorted();
  const contents = await Promise.all(
    kept.map(async (path) => [relative(cwd, path), (await readFile(path)).toString("base64")] as const),
  );
  return Object.fromEntries(contents);
};

try {
  const genesis = init();
  const server = await serve();
  env["SIGIL_CLIENT_SERVER"] = server.target;
  const decisions = fill();
  const checkpoint = run(["audit", "checkpoint"]);
  await server.stop();
  run(["fsck", "--data", "data"]);
  const files = await pack();
  const { format } = JSON.parse(Buffer.from(files["data/deployment.json"] ?? "", "base64").toString()) as {
    readonly format: number;
  };
  const facts = { format, origin: "formats.test", genesis, checkpoint, decisions, kekName, kek };
  const packed = gzipSync(JSON.stringify({ facts, files }), { level: 9 });
  await writeFile(to, packed);
  console.log(`${relative(repository, to)}: format ${format}, ${packed.length} bytes`);
} finally {
  await rm(cwd, { recursive: true });
}
