/** The built package gives the same bytes and hashes as the sources, in a process of its own. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { toHex } from "../../src/core/bytes.ts";
import { encodeBody, hashRecord, type RecordBody } from "../../src/core/record/record.ts";
import { buildPage } from "../../src/verifier/page.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../..");

const bodies: readonly RecordBody[] = [
  {
    kind: "user_data",
    schemaVersion: 1,
    id: "notes/1",
    tenant: "acme",
    ts: 1_767_225_600_000,
    space: "user",
    payload: { text: "größer", list: [1, 2.5, -3, null, true], big: 2n ** 63n, "": { __proto__x: 0.1 } },
    links: [],
    prev: null,
  },
  {
    kind: "trust_model",
    schemaVersion: 1,
    id: "trust_model/active",
    tenant: "system",
    ts: 1_767_225_600_001,
    space: "system",
    payload: defaultModelPayload,
    links: [],
    prev: null,
  },
];

/** Run with each module's address; prints a hash a line. */
const program = `
const [record, bytes, model, bodies] = process.argv.slice(1);
const { encodeBody, hashRecord } = await import(record);
const { toHex } = await import(bytes);
const { defaultModelPayload } = await import(model);
const revive = (key, value) => (typeof value === "string" && value.startsWith("bigint:") ? BigInt(value.slice(7)) : value);
for (const body of JSON.parse(bodies, revive)) {
  const payload = body.kind === "trust_model" ? defaultModelPayload : body.payload;
  console.log(toHex(hashRecord(encodeBody({ ...body, payload }))));
}`;

const hashesFrom = async (core: string, src: string, ending: string): Promise<readonly string[]> => {
  const at = (path: string): string => pathToFileURL(`${path}.${ending}`).href;
  const text = JSON.stringify(bodies, (_, value: unknown) =>
    typeof value === "bigint" ? `bigint:${value}` : value,
  );
  const { stdout } = await run(process.execPath, [
    "--input-type=module",
    "--eval",
    program,
    at(join(core, "record/index")),
    at(join(core, "bytes")),
    at(join(src, "trust/default-model")),
    text,
  ]);
  return stdout.trim().split("\n");
};

describe("the built package", () => {
  let built: string;
  let dist: string;
  before(async function () {
    built = await mkdtemp(join(tmpdir(), "sigil-build-"));
    dist = join(built, "dist");
    await run(process.execPath, ["scripts/build.ts", dist, join(built, "packages")], { cwd: root });
    // What the packages depend on, beside dist/ as it is where the server's package is installed.
    await symlink(join(root, "node_modules"), join(built, "node_modules"));
  });
  after(() => rm(built, { recursive: true, force: true }));

  it("gives the same record the same hash as the sources, each in a second process", async () => {
    const here = bodies.map((body) => toHex(hashRecord(encodeBody(body))));
    expect(await hashesFrom(join(root, "src/core"), join(root, "src"), "ts")).to.deep.equal(here);
    const core = join(dist, "node_modules/@sigil/core");
    expect(await hashesFrom(core, join(dist, "src"), "js")).to.deep.equal(here);
  });

  it("brings the built-in module", async () => {
    const path = "generated/modules/hello.wasm";
    expect(await readFile(join(dist, path))).to.deep.equal(await readFile(join(root, path)));
  });

  it("brings the OpenAPI document and the files of the page that shows it", async () => {
    const swagger = "node_modules/swagger-ui-dist";
    const files = ["swagger-ui.css", "swagger-ui-bundle.js", "LICENSE", "package.json"];
    for (const path of ["generated/openapi.json", ...files.map((name) => join(swagger, name))])
      expect((await readFile(join(dist, path))).equals(await readFile(join(root, path))), path).to.equal(
        true,
      );
    const { readReference } = (await import(
      pathToFileURL(join(dist, "src/gateway/http/reference.js")).href
    )) as typeof import("../../src/gateway/http/reference.ts");
    expect([...readReference().keys()])
      .to.include("/openapi.json")
      .and.to.include("/docs");
  });

  it("brings the page at /ui as JavaScript, with what it imports", async () => {
    const { readUi } = (await import(
      pathToFileURL(join(dist, "src/gateway/ui/ui.js")).href
    )) as typeof import("../../src/gateway/ui/ui.ts");
    const pages = readUi();
    const textOf = (path: string): string => {
      const { text } = pages.get(path) ?? expect.fail(`there is no ${path}`);
      return Buffer.from(text ?? "").toString();
    };
    const [, map = ""] = /<script type="importmap">(.*)<\/script>/.exec(textOf("/ui")) ?? [];
    const { imports } = JSON.parse(map) as { readonly imports: Readonly<Record<string, string>> };
    const scripts = [...pages.keys()].filter((path) => path.endsWith(".js"));
    expect(scripts).to.include.members(["/ui/main.js", ...Object.values(imports)]);
    for (const path of scripts) {
      for (const [, name = ""] of textOf(path).matchAll(/^(?:import|export)[^;"']*["']([^"']+)["'];/gm))
        expect(scripts, `${path} imports ${name}`).to.include(
          imports[name] ?? new URL(name, `http://sigil.test${path}`).pathname,
        );
    }
    expect([...pages.keys()].filter((path) => /\.[cm]?ts$/.test(path))).to.deep.equal([]);
    expect(textOf("/ui/page.css")).to.equal(
      await readFile(join(root, "src/gateway/ui/page/page.css"), "utf8"),
    );
  });

  it("brings the page that verifies evidence, as its sources make it", async () => {
    const { readPage } = (await import(
      pathToFileURL(join(dist, "src/verifier/page.js")).href
    )) as typeof import("../../src/verifier/page.ts");
    expect(readPage()).to.equal(buildPage());
  });

  it("runs a module in a sandbox process of its own files", async () => {
    const script = `
const [sandbox, wasm] = process.argv.slice(1);
const { createSandbox } = await import(sandbox);
const { createHash } = await import("node:crypto");
const { readFileSync } = await import("node:fs");
const code = new Uint8Array(readFileSync(wasm));
await using box = await createSandbox({ processes: 1, runsMax: 1, onFault: console.error });
const limits = { wallMs: 5000, memoryPages: 64, outputBytes: 1000, logBytes: 1000, inputBytes: 1000, hostCalls: 0 };
const { exit, output } = await box.run({
  digest: new Uint8Array(createHash("sha256").update(code).digest()),
  bytes: async () => code,
  name: "hello",
  input: new TextEncoder().encode('{"name":"Ada"}'),
  capabilities: [],
  limits,
  host: async () => new Uint8Array(),
  signal: new AbortController().signal,
});
console.log(exit.kind, new TextDecoder().decode(output).trim());`;
    const { stdout } = await run(process.execPath, [
      "--input-type=module",
      "--eval",
      script,
      pathToFileURL(join(dist, "src/modules/sandbox/pool.js")).href,
      join(dist, "generated/modules/hello.wasm"),
    ]);
    expect(stdout).to.equal('exited {"greeting":"hello, Ada"}\n');
  });

  it("runs the command line", async () => {
    const { stdout } = await run(process.execPath, [join(dist, "src/main.js"), "--help"]);
    expect(stdout).to.contain("sigil");
  });
});
