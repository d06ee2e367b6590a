/** Taking code in, showing it, and what a module may ask while it runs: as its caller and no further. */
import { sha256 } from "@sigil/core/hash";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { LevelOfAccess, type ProposeModuleRequest } from "@sigil/client";
import { createSandbox } from "../../src/modules/sandbox/pool.ts";
import { moduleBytesMax } from "../../src/limits.ts";
import { modelWith, Council, json as jsonContent, tombstone } from "./council.ts";
import { put } from "./canon-writes.ts";
import {
  approve,
  codeOf,
  codePath,
  hexOf,
  json,
  operatorLevel,
  runRecord,
  runsOf,
  upload,
  type ManifestAsked,
} from "./modules.ts";
import { localsBomb } from "../hostile/broken.ts";
import { refusalOf } from "./refusal.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";

const hostImports = `
  (import "sigil_v1" "canon_read" (func $read (param i32 i32) (result i32)))
  (import "sigil_v1" "trust_check" (func $check (param i32 i32 i32 i32) (result i32)))
  (import "sigil_v1" "answer" (func $answer (param i32 i32 i32) (result i32)))`;

/** Writes the length or the error code it got, then the answer. */
const tell = `(local $got i32)`;
const sayAnswer = `
  (call $sayNumber (local.get $got))
  (if (i32.gt_s (local.get $got) (i32.const 0)) (then
    (drop (call $answer (i32.const 0) (i32.const 1024) (local.get $got)))
    (call $say (i32.const 1024) (local.get $got))))`;

/** Asks for the record whose id is its input. */
const reader = codeOf({
  imports: ["fd_read"],
  extra: hostImports
    .split("\n")
    .filter((line) => !line.includes("trust_check"))
    .join("\n"),
  body: `${tell}
    (i32.store (i32.const 40) (i32.const 8192)) (i32.store (i32.const 44) (i32.const 4096))
    (drop (call $fd_read (i32.const 0) (i32.const 40) (i32.const 1) (i32.const 48)))
    (local.set $got (call $read (i32.const 8192) (i32.load (i32.const 48))))
    ${sayAnswer}`,
});

/** Asks whether its caller may delete user/profile. */
const checker = codeOf({
  extra: hostImports
    .split("\n")
    .filter((line) => !line.includes("canon_read"))
    .join("\n"),
  inside: '(data (i32.const 64) "deleteuser/profile")',
  body: `${tell}
    (local.set $got (call $check (i32.const 64) (i32.const 6) (i32.const 70) (i32.const 12)))
    ${sayAnswer}`,
});

const heard = (output: Uint8Array): { readonly code: number; readonly answer: unknown } => {
  const bytes = Buffer.from(output);
  const text = bytes.subarray(4).toString();
  return { code: bytes.readInt32LE(0), answer: text === "" ? null : JSON.parse(text) };
};

describe("modules that are proposed", function () {
  this.slow(3000);
  let council: Council;
  const plain = codeOf({ body: "" });
  const propose = (parts: Iterable<Partial<ProposeModuleRequest>>) =>
    council.as("mentor").modules.proposeModule(parts);
  const files = (): Promise<readonly string[]> => readdir(join(council.deployment.directory, "modules"));

  before(async () => {
    council = await Council.open({ otherTenants: ["globex"] });
  });
  after(() => council[Symbol.asyncDispose]());

  it("are kept by their digest before they are proposed, whole and for their owner alone", async () => {
    const response = await propose(upload("plain", plain, { digest: sha256(plain), reason: "first" }));
    expect(hexOf(response.digest)).to.equal(hexOf(sha256(plain)));
    expect(response.codeBytes).to.equal(BigInt(plain.length));
    expect(response.proposal).to.include({ recordId: "module/plain", reason: "first", kind: "module" });
    expect(await files()).to.include(`${hexOf(sha256(plain))}.wasm`);
    // Not approved, so not there.
    const early = await refusalOf(council.as("operator").modules.run({ name: "plain" }));
    expect(early.codeName).to.equal("NOT_FOUND");
    await council.restart();
  });

  it("are refused for what no sandbox would run, by name, and leave nothing behind", async () => {
    const before = await files();
    const alien = codeOf({ extra: '(import "env" "launch" (func $launch))', body: "(call $launch)" });
    const rows: readonly (readonly [Iterable<Partial<ProposeModuleRequest>>, RegExp, string])[] = [
      [upload("alien", alien), /"env"\."launch"/, "INVALID_ARGUMENT"],
      [upload("reader", reader), /canon\.read/, "INVALID_ARGUMENT"],
      [upload("junk", new Uint8Array(100)), /malformed module/, "INVALID_ARGUMENT"],
      [upload("bomb", localsBomb()), /locals or more in all functions/, "INVALID_ARGUMENT"],
      [upload("none", new Uint8Array(0)), /must bring the code/, "INVALID_ARGUMENT"],
      [upload("Upper", plain), /manifest\.name/, "INVALID_ARGUMENT"],
      [upload("other", plain, { digest: sha256(reader) }), /manifest\.digest/, "INVALID_ARGUMENT"],
      [
        upload("all", plain, { capabilities: ["network"] }),
        /manifest\.capabilities\[0\]/,
        "INVALID_ARGUMENT",
      ],
      [upload("idle", plain, { limits: { wallMs: 0 } }), /manifest\.limits\.wall_ms/, "INVALID_ARGUMENT"],
      [upload("nobody", plain, { minLevel: 0 }), /manifest\.min_level/, "INVALID_ARGUMENT"],
      [[{ part: { $case: "chunk", value: plain } }], /manifest first/, "INVALID_ARGUMENT"],
      [[], /manifest first/, "INVALID_ARGUMENT"],
      [
        [...upload("twice", plain), ...upload("twice", plain)],
        /chunk after the manifest/,
        "INVALID_ARGUMENT",
      ],
      [upload("hello", codeOf({ body: "nop" }), { expectedVersion: 0n }), /version 1/, "ABORTED"],
    ];
    for (const [parts, message, code] of rows) {
      const refused = await refusalOf(propose(parts));
      expect(refused.codeName, refused.message).to.equal(code);
      expect(refused.message).to.match(message);
    }
    function* flood(): Generator<Partial<ProposeModuleRequest>> {
      yield* upload("flood", new Uint8Array(0));
      for (let sent = 0; sent <= moduleBytesMax; sent += 1 << 20) {
        yield { part: { $case: "chunk", value: new Uint8Array(1 << 20) } };
      }
    }
    expect((await refusalOf(propose(flood()))).reason).to.equal("TOO_LARGE");
    expect(await files()).to.deep.equal(before);
  });

  it("are forgotten when their upload is broken off or takes too long", async () => {
    const before = await files();
    async function* stalled(): AsyncGenerator<Partial<ProposeModuleRequest>> {
      yield* upload("stalled", plain);
      await new Promise(() => {});
    }
    const abort = new AbortController();
    const { modules } = council.as("mentor");
    const cut = refusalOf(modules.proposeModule(stalled(), { signal: abort.signal }));
    setTimeout(() => abort.abort(), 100);
    expect((await cut).codeName).to.equal("CANCELLED");
    const late = await refusalOf(modules.proposeModule(stalled(), { deadlineMs: 200 }));
    expect(late.codeName).to.equal("DEADLINE_EXCEEDED");
    const { proposals } = await council.as("observer").canon.listProposals({ recordId: "module/stalled" });
    expect(proposals).to.deep.equal([]);
    expect(await files()).to.deep.equal(before);
    // Whoever sends breaks off by itself: what it throws is what the call throws.
    function* broken(): Generator<Partial<ProposeModuleRequest>> {
      yield* upload("broken", plain);
      throw new Error("the disk is gone");
    }
    const thrown = await propose(broken()).catch((error: unknown) => String(error));
    expect(thrown).to.equal("Error: the disk is gone");
  });

  it("are taken from nobody below Mentor, and from no Mentor whom the model denies, whose code is not kept", async () => {
    const low = await refusalOf(council.as("operator").modules.proposeModule(upload("low", plain)));
    expect([low.codeName, low.reason]).to.deep.equal(["PERMISSION_DENIED", "LEVEL_TOO_LOW"]);
    const sandbox = await createSandbox({ processes: 1, processesWarm: 0, runsMax: 1, onFault: () => {} });
    const inspect = sandbox.inspect.bind(sandbox);
    let inspected = 0;
    sandbox.inspect = (request) => ((inspected += 1), inspect(request));
    const propose = { risk: 0.5, min_loa: "root" };
    await using strict = await Council.open(
      {
        model: {
          ...defaultModelPayload,
          rate: { window_ms: 3_600_000, limit: 600 },
          actions: { ...defaultModelPayload.actions, "canon.propose": propose },
        },
      },
      { overrides: { sandbox } },
    );
    const mentor = strict.as("mentor");
    const payload = {
      min_loa: "operator",
      capabilities: [],
      limits: { wall_ms: 1, memory_pages: 1, output_bytes: 1 },
    };
    const digest = (await mentor.modules.getModule({ name: "hello" })).module?.digest ?? new Uint8Array();
    const askings: readonly (() => Promise<unknown>)[] = [
      () => mentor.modules.proposeModule(upload("denied", plain)),
      // What would be refused too, and what no compiler ends with.
      () => mentor.modules.proposeModule(upload("denied", new Uint8Array(100))),
      () => mentor.modules.proposeModule(upload("denied", localsBomb())),
      () =>
        mentor.canon.proposeRecord({
          id: "module/denied",
          content: jsonContent({ ...payload, digest: Buffer.from(digest).toString("base64") }),
        }),
    ];
    for (const ask of askings) {
      const denied = await refusalOf(ask());
      expect([denied.codeName, denied.reason], denied.message).to.deep.equal(["PERMISSION_DENIED", "DENIED"]);
    }
    expect(inspected, "what was compiled for whom may not propose").to.equal(0);
    expect(await readdir(join(strict.deployment.directory, "modules"))).to.have.length(1);
    // Each was decided, so each counts.
    const { contributions } = await mentor.trust.check({ action: "read", target: "public/docs" });
    const rate = contributions.find(({ feature }) => feature === "rate")?.value ?? Number.NaN;
    expect(Math.round(rate * 600)).to.equal(askings.length);
    await strict.as("root").modules.proposeModule(upload("allowed", plain));
    expect(inspected).to.equal(1);
  });

  it("are proposed by CanonService only with code that is here and fits", async () => {
    const payload = (digest: Uint8Array) =>
      jsonContent({
        digest: Buffer.from(digest).toString("base64"),
        min_loa: "operator",
        capabilities: [],
        limits: { wall_ms: 2345, memory_pages: 4, output_bytes: 10 },
      });
    const absent = council.propose({ id: "module/plain", content: payload(sha256(Buffer.from("absent"))) });
    expect((await refusalOf(absent)).fieldViolations.map(({ field }) => field)).to.deep.equal([
      "payload.digest",
    ]);
    const known = await council.propose({ id: "module/plain", content: payload(sha256(plain)) });
    await council.approve(known, "ann", "ben");
    expect((await council.as("operator").modules.run({ name: "plain" })).limits?.wallMs).to.equal(2345);
  });

  it("are listed page by page with what a quorum said of them, the retired ones when asked", async () => {
    for (const name of ["page-a", "page-b", "page-c"]) await approve(council, name, plain);
    const asObserver = council.as("observer");
    const names: string[] = [];
    let pageToken = "";
    do {
      const page = await asObserver.modules.listModules({ pageSize: 2, pageToken });
      expect(page.modules.length).to.be.at.most(2);
      names.push(...page.modules.map(({ name }) => name));
      ({ nextPageToken: pageToken } = page);
    } while (pageToken !== "");
    expect(names).to.deep.equal(["hello", "page-a", "page-b", "page-c", "plain"]);
    const { nextPageToken } = await asObserver.modules.listModules({ pageSize: 2 });
    const others = council.as("operator").modules.listModules({ pageToken: nextPageToken, pageSize: 2 });
    expect((await refusalOf(others)).reason).to.equal("INVALID_PAGE_TOKEN");
    const shown = await asObserver.modules.getModule({ name: "page-b" });
    expect(shown).to.deep.include({ attestedBy: ["ann", "ben"], k: 2, n: 3 });
    expect(shown.module).to.deep.include({ version: 1n, active: true, minLevel: operatorLevel });
    expect(shown.module?.codeBytes).to.equal(BigInt(plain.length));
    expect((await asObserver.modules.getModule({ name: "hello" })).attestedBy).to.deep.equal([]);
    const { proposal } = await council.as("mentor").modules.retireModule({ name: "page-b" });
    if (proposal === undefined) throw new Error("the answer has no proposal");
    await council.approve(proposal, "ben", "cyd");
    const left = await asObserver.modules.listModules({});
    expect(left.modules.map(({ name }) => name)).not.to.include("page-b");
    const all = await asObserver.modules.listModules({ includeRetired: true });
    expect(all.modules.find(({ name }) => name === "page-b")).to.include({ retired: true, active: false });
    expect((await asObserver.modules.getModule({ name: "page-b", version: 1n })).module).to.include({
      retired: false,
      active: false,
    });
    const none = await refusalOf(council.as("mentor").modules.retireModule({ name: "nobody" }));
    expect(none.codeName).to.equal("NOT_FOUND");
    expect((await refusalOf(council.as("guest").modules.listModules({}))).codeName).to.equal(
      "PERMISSION_DENIED",
    );
  });

  it("are proposed, and retired, once for each idempotency key, which is good for one method", async () => {
    const { canon, modules } = council.as("mentor");
    const once = (change: ManifestAsked = {}) =>
      modules.proposeModule(upload("once", plain, { idempotencyKey: "k", ...change }));
    const first = await once();
    expect((await once()).proposal?.id).to.equal(first.proposal?.id);
    const others: readonly ManifestAsked[] = [
      { name: "twice" },
      { minLevel: LevelOfAccess.LEVEL_OF_ACCESS_ROOT },
      { capabilities: ["trust.check"] },
      { limits: { wallMs: 4999 } },
      { reason: "another" },
      { lifetimeSeconds: 60 },
      { separateCommit: true },
      { expectedVersion: 0n },
    ];
    for (const other of others) {
      const refused = await refusalOf(once(other));
      const [field] = Object.keys(other);
      expect([refused.reason, refused.message].join(": "), field).to.contain("IDEMPOTENCY_CONFLICT");
    }
    if (first.proposal === undefined) throw new Error("the answer has no proposal");
    await council.approve(first.proposal, "ann", "ben");
    const retire = () => modules.retireModule({ name: "once", idempotencyKey: "k" });
    const retired = await retire();
    expect((await retire()).proposal?.id).to.equal(retired.proposal?.id);
    const ended = await canon.proposeRecord({ id: "module/once", content: tombstone, idempotencyKey: "k" });
    const ids = [first, retired, ended].map(({ proposal }) => proposal?.id);
    expect(new Set(ids).size).to.equal(3);
  });

  it("read records of their caller's tenant, under their prefix, as their caller might", async () => {
    await approve(council, "reader", reader, {
      capabilities: ["canon.read:prices/"],
      limits: { outputBytes: 9999 },
    });
    await put(council.as("operator"), "prices/tea", { euros: 3 });
    await put(council.as("operator"), "secrets/tea", { euros: 4 });
    const globex = council.served.by("operator-globex", council.deployment.privateKeys.operator);
    await put(globex, "prices/gold", { euros: 5 });
    const ask = async (id: string, as = council.as("operator")) => {
      const input = { $case: "inputBytes", value: new Uint8Array(Buffer.from(id)) } as const;
      const done = await as.modules.run({ name: "reader", input });
      return { ...heard(done.output), done };
    };
    const tea = await ask("prices/tea");
    expect(tea.answer).to.deep.equal({ id: "prices/tea", version: 1, kind: "note", payload: { euros: 3 } });
    expect(tea.done.usage?.hostCalls).to.equal(1);
    const { chains } = await council.as("observer").audit.listFrozenChains({ pageSize: 20 });
    const read = chains.find(({ action }) => action === "canon.read");
    expect(read).to.include({
      subject: "operator",
      target: "canon/user/prices/tea",
      session: tea.done.runId,
    });
    const denied = -2;
    const notFound = -1;
    expect(await ask("secrets/tea")).to.include({ code: denied, answer: null });
    expect(await ask("prices/gold")).to.include({ code: notFound, answer: null });
    expect(await ask("prices/gold", globex)).to.deep.include({
      answer: { id: "prices/gold", version: 1, kind: "note", payload: { euros: 5 } },
    });
    const decided = async (): Promise<number> => {
      const listed = await council
        .as("observer")
        .audit.listFrozenChains({ action: "canon.read", pageSize: 1000 });
      return listed.chains.length;
    };
    const before = await decided();
    const invalid = -3;
    for (const rest of [
      "../secrets/tea",
      "./tea",
      "/tea",
      "tea\0",
      "té",
      "t e a",
      "%74ea",
      "t".repeat(4000),
    ]) {
      expect(await ask(`prices/${rest}`), rest.slice(0, 20)).to.include({ code: invalid, answer: null });
    }
    expect(await decided(), "decisions about what is no record's id").to.equal(before);
    const { payload } = await runRecord(council.as("observer"), tea.done.runId);
    expect(payload["usage"]).to.include({ host_calls: 1 });
  });

  it("get a decision about their caller, recorded as the caller's own", async () => {
    await approve(council, "checker", checker, { capabilities: ["trust.check"] });
    const done = await council.as("operator").modules.run({ name: "checker" });
    const { answer } = heard(done.output);
    expect(answer).to.include({ allowed: false, verdict: "deny" });
    const auditId = (answer as { readonly audit_id: string }).audit_id;
    const { chain } = await council.as("observer").audit.getFrozenChain({ auditId });
    expect(chain).to.include({
      action: "delete",
      target: "user/profile",
      subject: "operator",
      session: done.runId,
    });
  });

  it("read nothing that the model denies their caller", async () => {
    const actions = { ...defaultModelPayload.actions, "canon.read": { risk: 0.05, min_loa: "mentor" } };
    const proposal = await council.propose({ id: "trust_model/active", content: modelWith({ actions }) });
    await council.approve(proposal, "ann", "ben");
    const input = { $case: "inputBytes", value: new Uint8Array(Buffer.from("prices/tea")) } as const;
    const { output } = await council.as("operator").modules.run({ name: "reader", input });
    expect(heard(output)).to.deep.equal({ code: -2, answer: null });
  });

  it("run by the model in force, from the next call on", async () => {
    const actions = { ...defaultModelPayload.actions, "module.run": { risk: 0.3, min_loa: "mentor" } };
    const proposal = await council.propose({ id: "trust_model/active", content: modelWith({ actions }) });
    await council.approve(proposal, "ann", "ben");
    const denied = await refusalOf(
      council.as("operator").modules.run({ name: "hello", input: json({ name: "A" }) }),
    );
    expect(denied.facts).to.include({ decision_reason: "LEVEL_TOO_LOW" });
    await council.as("mentor").modules.run({ name: "hello", input: json({ name: "A" }) });
    const ends = (await runsOf(council.as("observer"))).map(({ end }) => end);
    expect(ends.slice(-2)).to.deep.equal(["denied", "exited"]);
  });

  it("are healed on disk by the same code, sent again", async () => {
    const path = codePath(council, sha256(plain));
    await writeFile(path, "altered");
    await propose(upload("plain", plain));
    await council.as("mentor").modules.run({ name: "plain" });
    await rm(path);
    await propose(upload("plain", plain));
    await council.as("mentor").modules.run({ name: "plain" });
  });
});
