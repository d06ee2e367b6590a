/**
 * Evidence packs of a real server, and what becomes of changed ones: each is refused by the step that is there for it.
 */
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { fromBase64 } from "../../src/core/bytes.ts";
import { newestKey } from "../../src/core/keys/ring.ts";
import type { CborMap } from "../../src/core/cbor/cbor.ts";
import { packLineBytesMax } from "../../src/core/limits.ts";
import { formatVerifierKey } from "../../src/core/merkle/vkey.ts";
import { packSteps } from "../../src/core/pack/steps.ts";
import { ofLines, PackWorld, withOtherSignature, type Line } from "./pack-world.ts";

const controls = JSON.stringify({
  controls: [
    { id: "AC-3", title: "Access is enforced", filters: [{ verdict: "deny" }, { verdict: "review" }] },
    { id: "AC-6", filters: [{ action: "de*", target: "user/**", caller: "operator" }] },
    { id: "AC-7", title: "=1+1", filters: [{ subject: "nobody" }] },
  ],
});

const isRotation = ({ envelope }: Line): boolean =>
  Buffer.from(fromBase64(envelope)).includes("system/system/signing_key/");

const steps: ReadonlySet<string> = new Set(packSteps);
const tried = new Set<string>();

describe("an evidence pack", function () {
  this.slow(10_000);
  let world: PackWorld;
  let pack = "";
  let controlled = "";

  /** @param rule what the step says. */
  const refusedBy = async (step: string, name: string, rule: RegExp, ...words: readonly string[]) => {
    tried.add(step);
    const refusal = await world.refused(name, ...words);
    expect(refusal)
      .to.match(new RegExp(`^${step}: `))
      .and.to.match(rule);
  };
  const editing = (file: string, edit: Parameters<typeof ofLines>[0]) => ({ [file]: ofLines(edit) });
  const decisions = (edit: Parameters<typeof ofLines>[0]) => editing("decisions.jsonl", edit);
  const records = (edit: Parameters<typeof ofLines>[0]) => editing("records.jsonl", edit);
  const withoutRow = (at: number) => (text: string) =>
    text
      .split("\r\n")
      .filter((_, row) => row !== at)
      .join("\r\n");
  /** Without the decision at this index, in each of its files; and one fewer counted. */
  const leftOut = (at: number) =>
    world.forged(
      pack,
      { ...decisions((lines) => lines.toSpliced(at, 1)), "decisions.csv": withoutRow(at + 1) },
      ({ counts }) => ({ counts: { ...counts, decisions: counts.decisions - 1 } }),
    );

  before(async function () {
    this.timeout(60_000);
    world = await PackWorld.open();
    await world.fill();
    const [name, ended] = await world.export();
    expect(ended.exitCode, ended.problems + ended.output).to.equal(0);
    pack = name;
    await writeFile(world.path("controls.json"), controls);
    [controlled] = await world.export("--controls", "controls.json");
  });
  after(() => world[Symbol.asyncDispose]());

  it("holds for a stranger who knows the genesis hash, over callers, tenants, rotations, models and a restart", async () => {
    const { exitCode, output, problems } = await world.verify(pack, "--json");
    expect(exitCode, output + problems).to.equal(0);
    const {
      steps: taken,
      counts,
      gaps,
    } = JSON.parse(output) as {
      readonly steps: readonly { readonly name: string; readonly outcome: string }[];
      readonly counts: Readonly<Record<string, number>>;
      readonly gaps: readonly unknown[];
    };
    expect(taken.map(({ name }) => name)).to.deep.equal(packSteps);
    expect(taken.filter(({ outcome }) => outcome !== "passed").map(({ name }) => name)).to.deep.equal([
      "policy",
      "controls",
    ]);
    // Five of the operator, two of the mentor, and the one that allowed its proposal.
    expect([counts["decisions"], counts["callers"], gaps.length]).to.deep.equal([8, 2, 0]);
    const lines = await world.lines(pack);
    expect(lines.every(({ decision }) => decision?.["tenant"] === "acme")).to.equal(true);
    expect(await world.read(pack, "decisions.csv")).to.include("SCORE_BELOW_THRESHOLD");
  });

  it("lists the decisions of each control, and claims nothing of them", async () => {
    const { exitCode, output } = await world.verify(controlled);
    expect(exitCode, output).to.equal(0);
    expect(output)
      .to.match(/AC-3 +2/)
      .and.to.match(/AC-6 +2/)
      .and.to.match(/AC-7 +0/);
    expect(output).to.include("no claim that a control is met");
    const rows = (await world.read(controlled, "controls.csv")).split("\r\n");
    expect(rows.filter((row) => row.startsWith("AC-6,"))).to.have.length(2);
  });

  it("is refused by the step manifest: one that is cut off, of another format, or that names a file elsewhere", async () => {
    const cut = await world.edited(pack, { "manifest.json": (text) => text.slice(0, -20) });
    await refusedBy("manifest", cut, /must be JSON/);
    const other = await world.edited(pack, { "manifest.json": (text) => text.replace('n": 1', 'n": 2') });
    await refusedBy("manifest", other, /version must be 1/);
    const climbing = await world.edited(pack, {
      "manifest.json": (text) => text.replace('"callers.jsonl"', '"../operator.pem"'),
    });
    await refusedBy("manifest", climbing, /files\[0\].name must be one of/);
    const more = await world.edited(pack, { "manifest.json": (text) => text.replace("{", '{"note":1,') });
    await refusedBy("manifest", more, /with nothing besides/);
    expect((await world.verify(climbing)).exitCode).to.equal(2);
  });

  it("is refused by the step files: another byte, another digest, a file that is missing, one more, a link", async () => {
    const other = await world.edited(pack, {
      "decisions.csv": (text) => text.replace("user/notes", "user/nutes"),
    });
    await refusedBy("files", other, /decisions.csv has the SHA-256/);
    const cut = await world.edited(pack, { "decisions.jsonl": (text) => text.slice(0, -100) });
    await refusedBy("files", cut, /decisions.jsonl has \d+ bytes/);
    const digest = await world.edited(pack, {
      "manifest.json": (text) => text.replace(/"sha256": "../, '"sha256": "00'),
    });
    await refusedBy("files", digest, /callers.jsonl has the SHA-256/);
    const missing = await world.edited(pack, {});
    await rm(world.path(missing, "proof"));
    await refusedBy("files", missing, /proof is missing/);
    await mkdir(world.path(missing, "more"));
    await refusedBy("files", missing, /more \(no plain file\) is none of the pack's files/);
    const linked = await world.edited(pack, {});
    await rm(world.path(linked, "proof"));
    await symlink(world.path(pack, "proof"), world.path(linked, "proof"));
    await refusedBy("files", linked, /proof \(no plain file\)/);
    expect((await world.verify(linked)).exitCode).to.equal(1);
  });

  it("is refused by the steps genesis and keys: another genesis, none, and a key that is not announced as it was", async () => {
    tried.add("genesis");
    const { output } = await world.run("verify", pack, "--genesis", "00".repeat(32));
    expect(output).to.match(/genesis +FAILED .* is not the expected/);
    const none = await world.forged(
      pack,
      records((lines) => lines.slice(1)),
    );
    await refusedBy("genesis", none, /the genesis record is missing/);
    const at = (await world.lines(pack, "records.jsonl")).findIndex(isRotation);
    const forged = await world.forged(
      pack,
      records((lines) => lines.with(at, withOtherSignature(lines[at] as Line))),
    );
    await refusedBy("keys", forged, /signature does not verify/);
  });

  it("is refused by the step lines: two that are swapped, one that says more, or less, or is no line, or is endless", async () => {
    const swapped = await world.forged(
      pack,
      decisions(([a, b, ...more]) => [b as Line, a as Line, ...more]),
    );
    await refusedBy("lines", swapped, /must be in ascending order/);
    const retold = await world.forged(
      pack,
      decisions((lines) =>
        lines.map((line) => ({ ...line, decision: { ...line.decision, verdict: "allow" } })),
      ),
    );
    await refusedBy("lines", retold, /the line of position \d+ is not what its record makes/);
    const twice = await world.forged(
      pack,
      decisions(([a, ...more]) => [a as Line, a as Line, ...more]),
    );
    await refusedBy("lines", twice, /must be in ascending order/);
    const garbage = await world.forged(
      pack,
      decisions((lines) => [...lines, "no JSON"]),
    );
    await refusedBy("lines", garbage, /decisions.jsonl, line 9: line must be JSON/);
    const cut = await world.forged(pack, { "decisions.jsonl": (text) => text.slice(0, -1) });
    await refusedBy("lines", cut, /the file was cut off/);
    const endless = await world.forged(pack, {
      "decisions.jsonl": (text) => `${text}${"x".repeat(packLineBytesMax + 1)}\n`,
    });
    await refusedBy("lines", endless, new RegExp(`at most ${packLineBytesMax} bytes`));
  });

  it("is refused by the step signature: a decision with another signature, and keys that are left out", async () => {
    const forged = await world.forged(
      pack,
      decisions((lines) => lines.with(3, withOtherSignature(lines[3] as Line))),
    );
    await refusedBy("signature", forged, /signature does not verify/);
    const keyless = await world.forged(
      pack,
      records((lines) => lines.filter((line) => !isRotation(line))),
    );
    await refusedBy("signature", keyless, /key/);
  });

  it("is refused by the step record: another tenant's decision, one outside of the span, a model left out, a stranger's record", async () => {
    const globex = await world.export("--tenant", "globex", "--key", "root.pem", "--principal", "root");
    const [foreign] = await world.lines(globex[0]);
    const mixed = await world.forged(
      pack,
      decisions((lines) =>
        [...lines, foreign as Line].toSorted((a, b) => Number(a.position) - Number(b.position)),
      ),
    );
    await refusedBy("record", mixed, /belongs to another tenant/);
    const earlier = await world.forged(pack, {}, () => ({ fromMs: world.to.getTime() - 1 }));
    await refusedBy("record", earlier, /was not made within the span/);
    const isModel = ({ envelope }: Line): boolean =>
      Buffer.from(fromBase64(envelope)).includes("trust_model/active") &&
      Buffer.from(fromBase64(envelope)).includes("bias");
    const modelless = await world.forged(
      pack,
      records((lines) => lines.filter((line) => !isModel(line))),
    );
    await refusedBy("record", modelless, /names the model [0-9a-f]{64}, which is missing/);
    const idle = await world.forged(
      pack,
      records((lines) =>
        [...lines, { position: (foreign as Line).position, envelope: (foreign as Line).envelope }].toSorted(
          (a, b) => Number(a.position) - Number(b.position),
        ),
      ),
    );
    await refusedBy("record", idle, /nothing needs the record at position/);
    const miscounted = await world.forged(pack, {}, ({ counts }) => ({
      counts: { ...counts, decisions: 9 },
    }));
    await refusedBy("record", miscounted, /the manifest counts 9 decisions, there are 8/);
  });

  it("is refused by the step disclosures: those of another decision", async () => {
    const swapped = await world.forged(
      pack,
      decisions((lines) =>
        lines.with(0, { ...(lines[0] as Line), disclosures: lines[1]?.disclosures ?? "" }),
      ),
    );
    await refusedBy("disclosures", swapped, /is not what the record commits to/);
  });

  it("is refused by the step inclusion: a decision that is left out, first or last, and another proof", async () => {
    await refusedBy("inclusion", await leftOut(2), /root|proof/);
    await refusedBy("inclusion", await leftOut(0), /root|proof/);
    // The last is the only one of its model, which goes with it or is there for nothing.
    await refusedBy("record", await leftOut(7), /no decision names the model/);
    const [proposal, last] = (await world.lines(pack)).slice(-2).map(({ position }) => BigInt(position));
    const isItsModel = ({ position }: Line): boolean =>
      BigInt(position) > (proposal ?? 0n) && BigInt(position) < (last ?? 0n);
    const alone = await world.forged(
      pack,
      {
        ...decisions((lines) => lines.toSpliced(7, 1)),
        ...records((lines) => lines.filter((line) => !isItsModel(line))),
        "decisions.csv": withoutRow(8),
      },
      ({ counts }) => ({
        counts: { ...counts, decisions: counts.decisions - 1, records: counts.records - 1 },
      }),
    );
    await refusedBy("inclusion", alone, /root|proof/);
    const other = await world.forged(pack, {});
    const bytes = Buffer.from(await world.read(pack, "proof"), "latin1");
    await writeFile(world.path(other, "proof"), Buffer.alloc(bytes.length, 1));
    await world.resealed(other);
    await refusedBy("inclusion", other, /root|proof/);
    for (const [length, rule] of [
      [31, /the proof ends before the tree does/],
      [320 + 32, /the proof goes on after the tree/],
    ] as const) {
      const proof = Buffer.alloc(length);
      const name = await world.forged(pack, {});
      (await readFile(world.path(pack, "proof"))).copy(proof);
      await writeFile(world.path(name, "proof"), proof);
      await world.resealed(name);
      await refusedBy("inclusion", name, length < 320 ? rule : /root|goes on/);
    }
  });

  it("is refused by the steps checkpoint and policy: a note of another key, and one that a policy does not accept", async () => {
    const noted = await world.forged(pack, {}, ({ checkpoint }) => ({
      checkpoint: checkpoint.replace(
        /(.)(==?)?\n$/,
        (_, last: string, pad = "") => `${last === "A" ? "Q" : "A"}${pad}\n`,
      ),
    }));
    await refusedBy("checkpoint", noted, /./);
    const { ring } = world.council.served.server.ledger.reader;
    const log = newestKey(ring, "checkpoint")?.publicKey;
    if (log === undefined) throw new Error("there is no checkpoint key");
    const vkey = (name: string, use: "log" | "cosigner") => formatVerifierKey({ name, use, publicKey: log });
    const alone = `log ${vkey("sigil.test", "log")}\nquorum none\n`;
    await writeFile(world.path("alone.policy"), alone);
    expect((await world.verify(pack, "--policy", "alone.policy")).exitCode).to.equal(0);
    const cosigned = `log ${vkey("sigil.test", "log")}\nwitness w1 ${vkey("w1.test", "cosigner")}\nquorum w1\n`;
    await writeFile(world.path("cosigned.policy"), cosigned);
    await refusedBy("policy", pack, /is not cosigned by a quorum/, "--policy", "cosigned.policy");
  });

  it("is refused by the step completeness: a decision that whoever runs the server leaves out, and gaps that are hidden", async () => {
    const leaving = await world.reproved(await leftOut(1));
    await refusedBy("completeness", leaving, /"from":5,"to":5\}, it names no further one/);
    const last = await world.reproved(await leftOut(6));
    await refusedBy("completeness", last, /"caller":"mentor","from":3,"to":3/);
    const named = await world.reproved(await leftOut(1), () => ({
      gaps: [{ kind: "numbers", caller: "operator", from: 5, to: 5 }],
    }));
    const { exitCode, output } = await world.verify(named);
    expect(exitCode, output).to.equal(0);
    expect(output).to.include("operator: numbers 5 to 5 are not in the pack");
    const invented = await world.forged(pack, {}, () => ({ gaps: [{ kind: "open", caller: "mentor" }] }));
    await refusedBy("completeness", invented, /there is no further one, it names/);
    const callers = (edit: (text: string) => string, count = 2) =>
      world.forged(pack, { "callers.jsonl": edit }, ({ counts }) => ({
        counts: { ...counts, callers: count },
      }));
    await refusedBy(
      "completeness",
      await callers((text) => text.replace('"decisions":5', '"decisions":6')),
      /follow 5/,
    );
    await refusedBy(
      "completeness",
      await callers((text) => text.replace('"number":9', '"number":8')),
      /does not say number 8/,
    );
    await refusedBy(
      "completeness",
      await callers((text) => text.replace('"end":"head"', '"end":"decision"')),
      /is no decision of mentor/,
    );
    await refusedBy(
      "completeness",
      await callers((text) => text.split("\n").slice(1).join("\n"), 1),
      /nothing needs the record|nothing is claimed of mentor/,
    );
  });

  it("is refused by the step table: a row that says otherwise, one less, one more", async () => {
    const other = await world.forged(pack, { "decisions.csv": (text) => text.replace(",deny,", ",allow,") });
    await refusedBy("table", other, /decisions.csv differs .* at position \d+/);
    await refusedBy("table", await world.forged(pack, { "decisions.csv": withoutRow(8) }), /differs/);
    const more = await world.forged(pack, { "decisions.csv": (text) => `${text}1,2,3\r\n` });
    await refusedBy("table", more, /more than the decisions make/);
  });

  it("is refused by the step controls: another count, a row that is missing, another filter", async () => {
    const counted = { "controls.json": (text: string) => text.replace('"decisions": 2', '"decisions": 3') };
    await refusedBy("controls", await world.forged(controlled, counted), /2 decisions match AC-3, it says 3/);
    await refusedBy("controls", await world.forged(controlled, { "controls.csv": withoutRow(1) }), /differs/);
    const filter = { "controls.json": (text: string) => text.replace('"de*"', '"wr*"') };
    await refusedBy("controls", await world.forged(controlled, filter), /differs|match/);
  });

  it("is refused by the step trust: a pack that nobody vouches for", async () => {
    await refusedBy("trust", pack, /nobody vouches/, "--nothing");
  });

  it("is refused by the step decision: one that its model does not give, and an allow without a model", async () => {
    const [decided] = await world.lines(pack);
    const { body } = await world.council.served.server.ledger.reader.readAt(BigInt(decided?.position ?? 0));
    const payload = body.payload as CborMap;
    const forgeries = [
      [{ payload: { ...payload, z: 5 } }, /z is recorded as 5, recomputed as/],
      [
        { links: [], payload: { ...payload, model: "", verdict: "review" } },
        /without a model the only answer is a deny/,
      ],
    ] as const;
    for (const [index, [changes, rule]] of forgeries.entries()) {
      const from = await world.moment();
      const forged = { ...body, ...changes, id: `forged-${index}`, ts: Date.now() };
      await world.council.served.server.ledger.append([forged]);
      const to = await world.moment();
      const [name] = await world.export("--from", from.toISOString(), "--to", to.toISOString());
      await refusedBy("decision", name, rule);
    }
  });

  it("has a mutation for each step", () => {
    expect([...steps].filter((step) => !tried.has(step))).to.deep.equal([]);
  });
});
