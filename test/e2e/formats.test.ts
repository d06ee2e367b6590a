/**
 * Data directories that earlier programs wrote, in the hands of this one: refused as they are, migrated, whole
 * afterwards.
 */
import { sha256 } from "@sigil/core/hash";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, beforeEach, describe, it } from "mocha";
import { deploymentFormat } from "../../src/deployment/file.ts";
import { migrations, newestFormat, planMigrations } from "../../src/deployment/migrations.ts";
import { formatManifest, parseManifest, stateDirectory } from "../../src/deployment/backup/manifest.ts";
import { toHex } from "../../src/core/bytes.ts";
import {
  keptFormats,
  otherKept,
  unpackFormat,
  type FormatFacts,
  type KeptFormat,
} from "../data/formats/unpack.ts";
import { freePorts, servingHere, sigilHere, type Ended } from "./command.ts";

const formats = await keptFormats();
const older: readonly KeptFormat[] = [...formats.filter((format) => format < deploymentFormat), ...otherKept];

type Json = Readonly<Record<string, unknown>>;

let parent: string;
let cwd: string;
let copies = 0;
let facts: FormatFacts;

const env = (): Record<string, string> => ({ [facts.kekName]: facts.kek });
const run = (words: readonly string[], more: Record<string, string> = {}): Promise<Ended> =>
  sigilHere(words, { cwd, env: { ...env(), ...more } });
const ok = async (words: readonly string[], more: Record<string, string> = {}): Promise<string> => {
  const { output, problems, exitCode } = await run(words, more);
  expect(exitCode, problems).to.equal(0);
  return output;
};

const unpack = async (format: KeptFormat): Promise<void> => {
  copies += 1;
  cwd = join(parent, String(copies));
  await mkdir(cwd);
  facts = unpackFormat(format, cwd);
};

/** Every byte, size, mode and time of change of every file and directory. */
const contents = async (): Promise<readonly string[]> => {
  const entries = await readdir(join(cwd, "data"), { recursive: true, withFileTypes: true });
  const lines = entries.map(async ({ parentPath, name }) => {
    const path = join(parentPath, name);
    const { mode, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    const content = (await stat(path)).isFile() ? await readFile(path) : "";
    const digest = createHash("sha256").update(content).digest("hex");
    return `${path} ${mode} ${size} ${mtimeNs} ${ctimeNs} ${digest}`;
  });
  return (await Promise.all(lines)).toSorted();
};

const setFormat = async (format: unknown): Promise<void> => {
  const path = join(cwd, "data", "deployment.json");
  const file = JSON.parse(await readFile(path, "utf8")) as Json;
  await writeFile(path, JSON.stringify({ ...file, format }));
};

/** Everything that the directory held is there, verifies, and the server goes on. */
const expectServed = async (): Promise<void> => {
  const clean = JSON.parse(await ok(["fsck", "--data", "data", "--json"])) as Json;
  const size = facts.checkpoint.split("\n")[1];
  expect(clean).to.include({ ok: true, size });
  await using server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd, env: env() });
  const at = { SIGIL_CLIENT_SERVER: server.target };
  // Nothing was appended: it is the very checkpoint.
  expect(await ok(["audit", "checkpoint"], at)).to.equal(facts.checkpoint);
  await ok(["keys", "walk", "--genesis", facts.genesis], at);
  const asRoot = ["--key", "root.pem", "--principal", "root"];
  for (const { tenant, auditId } of facts.decisions) {
    await ok(["audit", "verify", auditId, "--tenant", tenant, ...asRoot], at);
  }
  const listed = await ok(["canon", "list", "--system", "--json", ...asRoot], at);
  for (const id of ["genesis", "trust_model/active", "witness/alice", "principal/operator"]) {
    expect(listed).to.include(`"${id}"`);
  }
  const history = await ok(["canon", "history", "principal/operator", "--system", "--json", ...asRoot], at);
  expect(history.trim().split("\n")).to.have.length(1);
  await ok(["check", "--action", "read", "--target", "public/docs", "--idempotency-key", "later"], at);
};

describe("data directories of the formats that were released", function () {
  before(async () => {
    process.umask(0o077);
    parent = await mkdtemp(join(tmpdir(), "sigil-formats-"));
  });
  after(() => rm(parent, { recursive: true, force: true }));

  it("are kept, one of each up to this program's own", () => {
    expect(newestFormat(migrations)).to.equal(deploymentFormat);
    expect(formats).to.deep.equal(Array.from({ length: deploymentFormat }, (_, index) => index + 1));
  });

  it(`of format ${deploymentFormat} are opened as they are`, async () => {
    await unpack(deploymentFormat);
    expect(facts.format).to.equal(deploymentFormat);
    expect(await ok(["migrate", "--data", "data"])).to.include("nothing to do");
    expect(await ok(["migrate", "--data", "data", "--dry-run"])).to.include("nothing to do");
    await expectServed();
  });

  for (const format of older) {
    describe(`of format ${format}`, () => {
      beforeEach(() => unpack(format));

      it("are refused until they are migrated, and the server says how", async () => {
        const before = await contents();
        for (const words of [
          ["serve", "--data", "data", ...freePorts],
          ["fsck", "--data", "data"],
          ["keys", "rewrap", "--data", "data", "--to", "file:new.kek"],
        ]) {
          const refused = await run(words);
          expect(refused.exitCode, words[0]).to.equal(2);
          expect(refused.problems)
            .to.include(`format ${facts.format}`)
            .and.to.include(`needs ${deploymentFormat}`)
            .and.to.include("sigil migrate --data data --dry-run");
        }
        expect(await contents()).to.deep.equal(before);
      });

      it("are migrated with every record, index and proof", async () => {
        const done = JSON.parse(await ok(["migrate", "--data", "data", "--json"])) as Json;
        expect(done).to.include({ from: facts.format, to: deploymentFormat, resumed: false, dryRun: false });
        expect(done["size"]).to.equal(facts.checkpoint.split("\n")[1]);
        await expectServed();
      });

      it("are left as they are by a rehearsal, to the last byte", async () => {
        const before = await contents();
        const said = JSON.parse(await ok(["migrate", "--data", "data", "--dry-run", "--json"])) as Json;
        expect(said).to.include({ from: facts.format, to: deploymentFormat, dryRun: true });
        // Format 4 changes nothing that is there.
        const steps = planMigrations(facts.format).flatMap((migration) => migration.steps);
        expect(said["steps"]).to.have.length(steps.length);
        expect(await contents()).to.deep.equal(before);
        expect(await readdir(cwd)).to.not.include("data.rehearsal");
        const text = await ok(["migrate", "--data", "data", "--dry-run", "--scratch", "elsewhere"]);
        expect(text).to.include("nothing was changed");
        for (const { about } of steps) expect(text).to.include(about);
        expect(await readdir(cwd)).to.not.include("elsewhere");
        await mkdir(join(cwd, "mine"));
        await writeFile(join(cwd, "mine", "letter"), "dear");
        const refused = await run(["migrate", "--data", "data", "--dry-run", "--scratch", "mine"]);
        expect(refused).to.include({ exitCode: 2 });
        expect(refused.problems).to.include("not empty");
      });

      it("are not touched without the right key, or when the ledger is damaged", async () => {
        const before = await contents();
        const other = { [facts.kekName]: Buffer.alloc(32, 7).toString("base64") };
        const wrong = await run(["migrate", "--data", "data"], other);
        expect(wrong.exitCode).to.equal(2);
        expect(wrong.problems).to.include("does not open");
        await writeFile(join(cwd, "data", "anchor"), "nothing of the kind\n");
        for (const rehearsal of [["--dry-run"], []]) {
          const damaged = await run(["migrate", "--data", "data", ...rehearsal]);
          expect(damaged.exitCode, damaged.problems).to.equal(1);
          expect(damaged.problems).to.include("anchor");
        }
        // LevelDB tidies its own files whenever it is opened; nothing else is written.
        const ours = (line: string): boolean => !/ledger|anchor/.test(line);
        expect((await contents()).filter(ours)).to.deep.equal(before.filter(ours));
      });
    });
  }

  const backUp = async (): Promise<void> => {
    const server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd, env: env() });
    const asRoot = ["--key", "root.pem", "--principal", "root"];
    await ok(["backup", "--to", "backup", ...asRoot], { SIGIL_CLIENT_SERVER: server.target });
    await server.stop();
  };
  const readState = async () => {
    const manifestPath = join(cwd, "backup", "manifest.json");
    const manifest = parseManifest(await readFile(manifestPath, "utf8"), manifestPath);
    const { state } = manifest;
    if (state === null) throw new Error("the backup is not whole");
    return { manifest, state, manifestPath };
  };

  it("whose backup lacks the code of an active module are not restored from it", async () => {
    await unpack("2-modules");
    await ok(["migrate", "--data", "data"]);
    await backUp();
    const { manifest, state, manifestPath } = await readState();
    const files = state.files.filter(({ path }) => !path.startsWith("modules/"));
    expect(files.length).to.be.lessThan(state.files.length);
    await writeFile(manifestPath, formatManifest({ ...manifest, state: { ...state, files } }));
    const refused = await run(["restore", "--from", "backup", "--data", "restored"]);
    expect(refused.exitCode, refused.problems).to.equal(1);
    expect(refused.problems).to.include("module");
    expect(await readdir(cwd)).to.not.include("restored");
  });

  it("of an older format come back from a backup in this program's", async () => {
    await unpack(deploymentFormat);
    await backUp();
    // As an older program would have described it.
    const { manifest, state, manifestPath } = await readState();
    const path = join(cwd, "backup", stateDirectory(state.serial), "deployment.json");
    const described = JSON.parse(await readFile(path, "utf8")) as Json;
    const content = Buffer.from(JSON.stringify({ ...described, format: 1 }));
    await writeFile(path, content);
    const files = state.files.map((file) =>
      file.path === "deployment.json"
        ? { ...file, bytes: content.length, sha256: toHex(sha256(content)) }
        : file,
    );
    await writeFile(manifestPath, formatManifest({ ...manifest, state: { ...state, files } }));
    await ok(["restore", "--from", "backup", "--data", "restored"]);
    await ok(["fsck", "--data", "restored"]);
    const restored = JSON.parse(await readFile(join(cwd, "restored", "deployment.json"), "utf8")) as Json;
    expect(restored["format"]).to.equal(deploymentFormat);
    expect(restored).to.not.have.property("migrating");
  });

  it("of a newer format are refused with both named", async () => {
    await unpack(deploymentFormat);
    await setFormat(deploymentFormat + 1);
    for (const words of [["serve", ...freePorts], ["fsck"], ["migrate"], ["migrate", "--dry-run"]]) {
      const refused = await run([words[0] ?? "", "--data", "data", ...words.slice(1)]);
      expect(refused.exitCode, words.join(" ")).to.equal(2);
      expect(refused.problems)
        .to.include(`has format ${deploymentFormat + 1}`)
        .and.to.include(`knows up to ${deploymentFormat}`);
    }
  });

  it("that say nonsense about their format are refused", async () => {
    await unpack(deploymentFormat);
    for (const format of [0, -1, 1.5, "2", null]) {
      await setFormat(format);
      const refused = await run(["migrate", "--data", "data"]);
      expect(refused.exitCode, String(format)).to.equal(2);
      expect(refused.problems).to.include("deployment.json");
    }
  });
});
