/** What explains the routes, over a real socket: the document, the page in a browser, a fuzzer by the document. */
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository, run } from "../../scripts/run.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { httpAs, httpConfig, problem, urlOf } from "./http-caller.ts";

const searched = [join(repository, "build/venv/bin"), ...(process.env["PATH"] ?? "").split(delimiter)];
const find = (name: string): string | undefined =>
  searched.map((folder) => join(folder, name)).find((path) => existsSync(path));
const why = (found: string | undefined, name: string): string =>
  found === undefined ? ` (skipped: no ${name}: scripts/services.sh install openapi)` : "";

const [validator, fuzzer, browser] = ["openapi-spec-validator", "schemathesis", "chromium"].map(find);
/** Of the fuzzer: no status, type or body that the document has not, and no fault of the server. */
const checks = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_schema_conformance",
];
const documentPath = join(repository, "generated/openapi.json");
const pages = ["/docs", "/docs/reference.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"];

/** Chromium's log of what it asks for. */
type NetLog = {
  readonly events: readonly { readonly params?: { readonly url?: string; readonly initiator?: string } }[];
};

describe("the reference over HTTP", function () {
  this.slow(60_000);

  let deployment: Deployment;
  let served: ServedDeployment;
  let directory: string;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "sigil-reference-"));
    deployment = await makeDeployment();
    served = await deployment.serve({ config: httpConfig });
  });

  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  it("serves the document as it is committed, and a page under a policy of its own origin alone", async () => {
    const answer = await fetch(`${urlOf(served)}/openapi.json`);
    expect(answer.headers.get("content-type")).to.equal("application/json");
    expect(await answer.text()).to.equal(readFileSync(documentPath, "utf8"));
    for (const path of pages) {
      const { status, headers } = await fetch(urlOf(served) + path);
      expect(status, path).to.equal(200);
      expect(headers.get("content-security-policy"), path).to.match(
        /^default-src 'self'; img-src 'self' data:;/,
      );
      expect(headers.get("content-security-policy"), path).not.to.match(/unsafe|https?:|\*/);
      expect(headers.get("x-content-type-options"), path).to.equal("nosniff");
    }
  });

  it("serves the pages by GET alone, to hosts that are listed, and nothing else of the package", async () => {
    const guest = httpAs(deployment, served)("guest");
    const posted = await guest("POST", "/openapi.json", {});
    expect(problem(posted)).to.deep.equal([405, "OTHER_METHOD"]);
    expect(posted.headers.get("allow")).to.equal("GET");
    for (const path of ["/docs/", "/docs/package.json", "/docs/swagger-ui.js", "/openapi.yaml"])
      expect((await guest("GET", path)).status, path).to.equal(404);
  });

  it(`has a valid document of OpenAPI 3.1${why(validator, "openapi-spec-validator")}`, async function () {
    if (validator === undefined) return this.skip();
    const { exitCode, output } = await run([validator, "--schema", "3.1", documentPath]);
    expect(exitCode, output).to.equal(0);
  });

  it(`asks its own origin alone and breaks no policy, by Chromium's own log${why(browser, "Chromium")}`, async function () {
    if (browser === undefined) return this.skip();
    const log = join(directory, "net.json");
    const { output } = await run([
      browser,
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--no-first-run",
      `--user-data-dir=${join(directory, "profile")}`,
      `--log-net-log=${log}`,
      "--enable-logging=stderr",
      // What the browser asks for itself finds nobody.
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
      "--virtual-time-budget=20000",
      "--dump-dom",
      // The address of one operation opens it, with all that it is made of.
      `${urlOf(served)}/docs#/TrustService/TrustService_Check`,
    ]);
    expect(output).to.include("/trust/check").and.to.include("Decides one check.");
    expect(output).to.include("Try it out").and.to.include("/access/v1/evaluation");
    expect(output).not.to.match(/Content Security Policy|Refused to/);
    const { events } = JSON.parse(await readFile(log, "utf8")) as NetLog;
    // Without an origin: what was typed, and what the browser asks for itself.
    const asked = events.flatMap(({ params: { url, initiator } = {} }) =>
      url === undefined || initiator === undefined || initiator === "not an origin" ? [] : [url],
    );
    const wanted = [...pages.slice(1), "/openapi.json"].map((path) => urlOf(served) + path);
    expect(asked).to.have.members(wanted);
  });

  it(`answers what a fuzzer makes of the document as the document says${why(fuzzer, "schemathesis")}`, async function () {
    if (fuzzer === undefined) return this.skip();
    const config = join(directory, "schemathesis.toml");
    // A caller that waits a millisecond gets 504, as it should; a watch, left out below, has no end.
    await writeFile(config, '[parameters]\n"sigil-timeout-ms" = "60000"\n');
    for (const level of ["guest", "operator"] as const) {
      const token = level === "guest" ? undefined : await deployment.signer(level).token();
      const caller = token === undefined ? "" : ` -H "Authorization: Bearer ${token}"`;
      const command = `"$FUZZER" --config-file "$CONFIG" run "$DOCUMENT" --url "$URL"${caller} --checks ${checks.join(",")} \
        --exclude-path /canon/user:watch --phases examples,fuzzing --max-examples 5 --seed 1 --request-timeout 60 \
        --suppress-health-check all --no-color`;
      const env = { FUZZER: fuzzer, CONFIG: config, DOCUMENT: documentPath, URL: urlOf(served) };
      const { exitCode, output } = await run(["sh", "-c", command], { cwd: directory, env });
      expect(exitCode, `${level}: ${output}`).to.equal(0);
    }
  });
});
