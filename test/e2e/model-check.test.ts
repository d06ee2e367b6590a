/**
 * A model looked over: in a file, as it decides now, when it is tried out, proposed and signed. And enrolling by any
 * id, typed.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { freePorts, servingHere, sigilHere, type Ended, type Serving } from "./command.ts";

const caller = (name: string): readonly string[] => ["--key", `data.keys/${name}.pem`, "--principal", name];

const odd = {
  ...defaultModelPayload,
  actions: { ...defaultModelPayload.actions, "payment.refund": { risk: 0.7, min_loa: "operator" } },
  targets: { ...defaultModelPayload.targets, "Public/**": 0.9 },
};
const refundRow =
  /actions\["payment\.refund"\] never allows a caller of its least level, operator: on payment\/\*\*/;
const caseRow = /targets\["public\/\*\*"\] differs from Public\/\*\* by letter case alone/;

describe("sigil model check, and what is said of a model elsewhere", function () {
  this.slow(5000);
  let cwd = "";
  let server: Serving | undefined;
  const env = () => ({ SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" });
  const run = (words: readonly string[], input?: string): Promise<Ended> =>
    sigilHere(words, { cwd, env: env(), ...(input === undefined ? {} : { input }) });

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-model-check-"));
    await sigilHere(["key", "new", "ci.pem"], { cwd });
    const { output } = await sigilHere(["key", "show", "ci.pem"], { cwd });
    const made = await sigilHere(
      [
        "init",
        "--data",
        "data",
        "--dev",
        "--principal",
        `ci+eu=1@example.com=observer:demo:${output.trim()}`,
      ],
      { cwd },
    );
    expect(made.exitCode, made.problems).to.equal(0);
    await writeFile(join(cwd, "odd.json"), JSON.stringify(odd));
    await writeFile(join(cwd, "default.json"), JSON.stringify(defaultModelPayload));
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
  });
  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  it("finds nothing in the model that a new deployment decides by, and says what a full window does", async () => {
    for (const words of [["default.json"], ["--active", ...caller("observer")]]) {
      const { output, problems, exitCode } = await run(["model", "check", ...words]);
      expect(exitCode, problems).to.equal(0);
      expect(output).to.match(
        /payment\.refund +operator +payment\/\*\* +1\.10 +allow +deny +269 earlier checks/,
      );
    }
  });

  it("names each row of a file, in text and as JSON, and ends with 1", async () => {
    const { output, exitCode } = await run(["model", "check", "odd.json"]);
    expect(exitCode).to.equal(1);
    expect(output).to.match(refundRow).and.match(caseRow);
    const asJson = await run(["model", "check", "odd.json", "--json"]);
    expect(asJson.exitCode).to.equal(1);
    const { findings, actions } = JSON.parse(asJson.output) as {
      findings: readonly { code: string; row: string }[];
      actions: readonly { action: string; full: string; allowed_up_to: number | null }[];
    };
    expect(findings.map(({ code, row }) => `${code} ${row}`)).to.deep.equal([
      'NEVER_ALLOWS actions["payment.refund"]',
      'CASE_ALONE targets["public/**"]',
    ]);
    expect(actions.find(({ action }) => action === "payment.refund")).to.include({ allowed_up_to: null });
  });

  it("ends with 1 for a model that would be refused, and with 2 when it is used wrongly", async () => {
    await writeFile(join(cwd, "twice.json"), JSON.stringify({ ...odd, targets: { "a/**": 0, "/a/**": 1 } }));
    const twice = await run(["model", "check", "twice.json"]);
    expect([twice.exitCode, twice.problems]).to.satisfy(
      ([code, problems]: [number, string]) =>
        code === 1 && problems.includes('is another spelling of "a/**"'),
      twice.problems,
    );
    for (const words of [[], ["odd.json", "--active"], ["missing.json"]]) {
      expect((await run(["model", "check", ...words])).exitCode, words.join(" ")).to.equal(2);
    }
  });

  it("says the same of a model that is tried out, proposed and signed", async () => {
    const simulated = await run(["simulate", "--candidate", "odd.json", "--last", "1", ...caller("mentor")]);
    expect(simulated.output).to.match(refundRow).and.match(caseRow);
    const words = ["propose", "odd.json", "--id", "trust_model/active", ...caller("mentor")];
    const proposed = await run(words);
    expect(proposed.exitCode, proposed.problems).to.equal(0);
    expect(proposed.problems).to.match(refundRow).and.match(caseRow);
    const again = JSON.parse((await run([...words, "--json"])).output) as {
      proposal: { id: string };
      warnings: readonly string[];
    };
    expect(again.warnings.join("\n")).to.match(refundRow).and.match(caseRow);
    const signed = await run(["attest", again.proposal.id, "--key", "data.keys/witness-1.pem", "--yes"]);
    expect(signed.output).to.match(refundRow).and.match(caseRow);
  });

  it("enrols and names principals by ids that no record id can hold", async () => {
    const asCi = (spelling: string) =>
      run([
        "check",
        "--action",
        "read",
        "--target",
        "public/a b",
        "--key",
        "ci.pem",
        "--principal",
        spelling,
        "--json",
      ]);
    for (const spelling of ["ci+eu=1@example.com", "spiffe://sigil.dev/ci%2Beu=1@example.com"]) {
      const { output, problems, exitCode } = await asCi(spelling);
      expect(exitCode, problems).to.equal(0);
      expect((JSON.parse(output) as { subject: string }).subject).to.equal("ci+eu=1@example.com");
    }
    const payload = { public_keys: [], loa: "observer", tenant: "demo", active: true };
    const proposed = await run(
      ["propose", "-", "--id", "principal/jörg+1", "--json", ...caller("mentor")],
      JSON.stringify(payload),
    );
    expect(proposed.exitCode, proposed.problems).to.equal(0);
    const { proposal } = JSON.parse(proposed.output) as {
      proposal: { recordId: string; payloadJson: string };
    };
    expect(proposal.recordId).to.match(/^principal\/~[0-9a-f]{64}$/);
    expect(JSON.parse(proposal.payloadJson)).to.include({ id: "jörg+1" });
    const put = await run(
      ["canon", "put", "principal/a b", "--kind", "principal", "--json-file", "-", ...caller("mentor")],
      JSON.stringify(payload),
    );
    expect(put.exitCode, put.problems).to.equal(0);
    const got = await run(["canon", "get", "principal/a b", ...caller("observer")]);
    expect(JSON.parse(got.output)).to.include({ id: "a b", loa: "observer" });
    expect((await run(["canon", "rm", "principal/a b", ...caller("mentor")])).exitCode).to.equal(0);
  });
});
