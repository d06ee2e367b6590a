/** The page that verifies evidence files, opened from disk in headless Chromium: no server, and nobody is asked. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect } from "chai";
import { after, afterEach, before, beforeEach, describe, it } from "mocha";
import { readEvidence } from "@sigil/client";
import { turned, withLine } from "../../scripts/vectors/evidence-changes.ts";
import { concatBytes, fromHex, utf8Encode } from "../../src/core/bytes.ts";
import { formatEvidence, parseEvidence } from "../../src/core/verify/evidence-file.ts";
import { evidenceSteps } from "../../src/core/verify/evidence.ts";
import { buildPage } from "../../src/verifier/page.ts";
import { Browser, chromium, whyNoBrowser, type Seen } from "./browser.ts";
import { sigilHere } from "./command.ts";
import { makeDeployment } from "./deployment.ts";

type Trust = { readonly genesis?: string | null; readonly policy?: string | null };
type Refused = Trust & {
  readonly name: string;
  readonly step: string;
  readonly at: number;
  readonly cut: number;
  readonly hex: string;
};
type Vectors = {
  readonly genesis: string;
  readonly policy: string;
  readonly accept: readonly {
    readonly name: string;
    readonly hex: string;
    readonly decision: string | null;
  }[];
  readonly refuse: readonly Refused[];
};

describe(`the page that verifies evidence${whyNoBrowser}`, function () {
  this.slow(20_000);
  this.timeout(120_000);
  let directory = "";
  let browser: Browser | undefined;
  let vectors: Vectors;
  let url = "";
  const page = (): Browser => browser ?? expect.fail("there is no browser");

  before(async function () {
    if (chromium === undefined) return this.skip();
    directory = await mkdtemp(join(tmpdir(), "sigil-verifier-page-"));
    const { exitCode, output } = await sigilHere(["audit", "page"], { cwd: directory });
    expect(exitCode).to.equal(0);
    expect(output).to.equal(buildPage());
    const path = join(directory, "verify.html");
    await writeFile(path, output);
    url = pathToFileURL(path).href;
    const text = await readFile(new URL("../vectors/evidence.json", import.meta.url), "utf8");
    vectors = JSON.parse(text) as Vectors;
    browser = await Browser.open(chromium);
  });
  after(async () => {
    await browser?.[Symbol.asyncDispose]();
    if (directory !== "") await rm(directory, { recursive: true, force: true });
  });

  beforeEach(async () => {
    await browser?.openPage();
    await browser?.go(url);
    await browser?.untilText("Drop evidence files here");
  });
  afterEach(async () => {
    if (browser === undefined) return;
    const { asked, complaints } = browser;
    await browser.closePage();
    expect(complaints).to.deep.equal([]);
    expect(asked.filter((each) => each !== url && !each.startsWith("data:text/javascript;"))).to.deep.equal(
      [],
    );
  });

  const fill = (id: string, value: string): Promise<void> =>
    page().evaluate(
      `{ const field = document.getElementById("${id}"); field.value = ${JSON.stringify(value)}; field.dispatchEvent(new Event("change")) }`,
    );

  const trust = async ({ genesis = vectors.genesis, policy = vectors.policy }: Trust): Promise<void> => {
    await fill("genesis", genesis ?? "");
    await fill("policy", policy ?? "");
  };

  const choose = async (...files: readonly string[]): Promise<void> => {
    const { result } = await page().send("Runtime.evaluate", {
      expression: 'document.getElementById("files")',
    });
    await page().send("DOM.setFileInputFiles", { files, objectId: (result as Seen)["objectId"] });
  };

  const fileOf = async (name: string, bytes: Uint8Array): Promise<string> => {
    const path = join(directory, `${name.replaceAll(/[^a-z0-9]+/gi, "-")}.sigil`);
    await writeFile(path, bytes);
    return path;
  };

  const changed = ({ at, cut, hex }: Refused): Uint8Array => {
    const first = fromHex(vectors.accept[0]?.hex ?? "");
    return concatBytes(first.subarray(0, at), fromHex(hex), first.subarray(at + cut));
  };

  it("shows of a dropped file the decision, why it was made, and each step", async () => {
    await trust({});
    const path = await fileOf("dropped", fromHex(vectors.accept[0]?.hex ?? ""));
    const data = { items: [], files: [path], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) {
      await page().send("Input.dispatchDragEvent", { type, x: 300, y: 200, data });
    }
    await page().untilText("Verified: dropped.sigil");
    const text = await page().text();
    for (const part of [
      /verdict\s+allow/,
      /reason\s+SCORE_AT_OR_ABOVE_THRESHOLD/,
      /action\s+read/,
      /target\s+user\/ann\/notes/,
      /subject\s+ann, operator/,
      /target row\s+user\/\*\/notes/,
      /bias\s+\+1\.000/,
      /level\s+0\.500\s+\+4\.000/,
      /cosigned by witness\.example\/w1, witness\.example\/w2/,
    ]) {
      expect(text).to.match(part);
    }
    const steps = await page().evaluate<readonly string[]>(
      '[...document.querySelectorAll("section.file table:last-of-type tbody tr td:first-child")].map((cell) => cell.textContent)',
    );
    expect(steps.slice(-evidenceSteps.length)).to.deep.equal([...evidenceSteps]);
  });

  it("holds every golden file, and refuses each change by the step that is there for it", async () => {
    await trust({});
    const paths = await Promise.all(vectors.accept.map(({ name, hex }) => fileOf(name, fromHex(hex))));
    await choose(...paths);
    await page().until(`document.querySelectorAll("h2.verified").length === ${paths.length}`);
    for (const step of evidenceSteps) {
      const cases = vectors.refuse.filter((each) => each.step === step);
      expect(cases, step).not.to.deep.equal([]);
      for (const each of cases) {
        await trust(each);
        await choose(await fileOf(each.name, changed(each)));
        const name = each.name.replaceAll(/[^a-z0-9]+/gi, "-");
        const said = step === "trust" ? "Not vouched for" : `Refused by the step ${step}`;
        await page().untilText(`${said}: ${name}.sigil`);
        expect(await page().evaluate('document.querySelectorAll("h2.verified").length')).to.equal(0);
        // What a refused file says of itself is not repeated.
        expect((await page().text()).includes("The decision")).to.equal(step === "trust");
      }
    }
  });

  it("verifies what a server gave, again whenever what is trusted changes", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const question = { action: "write", target: "user/notes", input: utf8Encode("x"), keepInput: true };
    const { auditId } = await served.as("operator").trust.check(question);
    const text = await readFile(join(deployment.directory, "deployment.json"), "utf8");
    const { genesis } = JSON.parse(text) as { readonly genesis: string };
    await choose(await fileOf("fresh", await readEvidence(served.as("operator"), { auditId })));
    await page().untilText("Not vouched for: fresh.sigil");
    await fill("genesis", "abc");
    await page().untilText("must be an even number of hex digits");
    await fill("genesis", "0".repeat(64));
    await page().untilText("Refused by the step genesis: fresh.sigil");
    await fill("genesis", genesis);
    await page().untilText("Verified: fresh.sigil");
  });

  it("verifies a checkpoint's ML-DSA-44 line, with code that no other file runs", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve({ config: { checkpoint_mldsa44: true } });
    const { auditId } = await served.as("operator").trust.check({ action: "read", target: "user/notes" });
    const text = await readFile(join(deployment.directory, "deployment.json"), "utf8");
    const { imports } = JSON.parse(
      /<script type="importmap">(.*?)<\/script>/.exec(buildPage())?.[1] ?? "{}",
    ) as { readonly imports: Readonly<Record<string, string>> };
    const isRun = (): boolean => page().asked.includes(imports["@noble/post-quantum/ml-dsa.js"] ?? "");
    await trust({});
    await choose(await fileOf("plain", fromHex(vectors.accept[0]?.hex ?? "")));
    await page().untilText("Verified: plain.sigil");
    expect(isRun()).to.equal(false);
    await trust({ genesis: (JSON.parse(text) as { readonly genesis: string }).genesis, policy: null });
    const evidence = parseEvidence(await readEvidence(served.as("operator"), { auditId }));
    await choose(await fileOf("signed twice", formatEvidence(evidence)));
    await page().untilText("Verified: signed-twice.sigil");
    expect(await page().text()).to.match(/by ML-DSA-44 as well/);
    expect(isRun()).to.equal(true);
    await choose(await fileOf("wrong line", formatEvidence(withLine(evidence, 1, turned))));
    await page().untilText("Refused by the step checkpoint: wrong-line.sigil");
    expect(await page().text()).to.match(/the ML-DSA-44 signature must verify/);
  });
});
