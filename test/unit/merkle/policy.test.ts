/** Verifier keys and trust policies, C2SP signed-note and tlog-policy: one reading of each line; quorums of groups. */
import { generateKeyPairSync } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { utf8Encode } from "../../../src/core/bytes.ts";
import { Fault } from "../../../src/core/errors.ts";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { signCheckpoint } from "../../../src/core/merkle/checkpoint.ts";
import { signCosignature } from "../../../src/core/merkle/cosignature.ts";
import { formatNote, parseNote } from "../../../src/core/merkle/note.ts";
import {
  isQuorum,
  missingWitnesses,
  parsePolicy,
  verifyByPolicy,
  type Policy,
} from "../../../src/core/merkle/policy.ts";
import { formatVerifierKey, parseVerifierKey } from "../../../src/core/merkle/vkey.ts";
import { createSigner } from "../../../src/crypto/signing/sign.ts";
import { naiveRoot, sampleEntries } from "./naive-tree.ts";

const signerOf = (name: string) => ({ name, ...createSigner(generateKeyPairSync("ed25519").privateKey) });
const origin = "log.example/main";
const log = signerOf(origin);
const witnesses = ["x1", "x2", "x3", "y1", "y2"].map((name) => signerOf(`witness.example/${name}`));
const logKey = formatVerifierKey({ name: origin, use: "log", publicKey: log.publicKey });
const keyOf = (index: number): string => {
  const { name = "", publicKey = log.publicKey } = witnesses[index] ?? {};
  return formatVerifierKey({ name, use: "cosigner", publicKey });
};

const lines = [
  "# whom we believe",
  `log ${logKey} https://log.example/`,
  "",
  ...["X1", "X2", "X3"].map((label, index) => `witness ${label} ${keyOf(index)}`),
  "\tgroup  X 2 X1 X2 X3 ",
  `witness Y1 ${keyOf(3)} https://y1.example/prefix`,
  `witness Y2 ${keyOf(4)}`,
  "group Y any Y1 Y2",
  "group XY all X Y",
  "quorum XY",
];
const parsed = (all: readonly string[]): Policy => parsePolicy(utf8Encode(`${all.join("\n")}\n`));

const ruleOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof Fault) return error.message;
    throw error;
  }
  return "accepted";
};

describe("verifier keys", () => {
  it("are one text for one key", () => {
    for (const use of ["log", "cosigner"] as const) {
      const key = { name: origin, use, publicKey: log.publicKey };
      expect(parseVerifierKey(formatVerifierKey(key))).to.deep.equal(key);
    }
  });

  it("reads the example of the note package of Go", () => {
    const { name, use, publicKey } = parseVerifierKey(
      "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    );
    expect([name, use, publicKey.length]).to.deep.equal(["PeterNeumann", "log", 32]);
  });

  it("are refused in any other form", () => {
    // Base64 may hold a plus sign too.
    const [, name, id, key = ""] = /^(.+?)\+(.+?)\+(.+)$/.exec(logKey) ?? [];
    for (const [text, rule] of [
      ["", /joined by \+/],
      [`${name}+${id}`, /joined by \+/],
      [`${name}+${id?.toUpperCase().replace(/\d/g, "A")}+${key}`, /joined by \+/],
      [`${name}+00000000+${key}`, /key id is not that/],
      [`${name}2+${id}+${key}`, /key id is not that/],
      [`${name}+${id}+!`, /base64/],
      [`${name}+${id}+${Buffer.from([6, ...Array(32).fill(1)]).toString("base64")}`, /0x01 of a log/],
      [`${name}+${id}+${Buffer.from([1, ...Array(31).fill(1)]).toString("base64")}`, /32 bytes/],
    ] as const) {
      expect(
        ruleOf(() => parseVerifierKey(text)),
        text,
      ).to.match(rule);
    }
  });
});

describe("trust policies", () => {
  it("name logs, witnesses with their addresses, groups and one quorum", () => {
    const policy = parsed(lines);
    expect(policy.logs).to.deep.equal([
      { name: origin, use: "log", publicKey: log.publicKey, url: "https://log.example/" },
    ]);
    expect(policy.witnesses.map(({ label, url }) => [label, url])).to.deep.equal([
      ["X1", undefined],
      ["X2", undefined],
      ["X3", undefined],
      ["Y1", "https://y1.example/prefix"],
      ["Y2", undefined],
    ]);
    expect(policy.quorum).to.equal("XY");
  });

  it("count groups of groups", () => {
    const policy = parsed(lines);
    for (const [cosigned, missing] of [
      ["X1 X2 Y1", 0],
      ["X1 X3 Y2", 0],
      ["X1 X2 X3 Y1 Y2", 0],
      ["X1 X2 X3", 1],
      ["X1 Y1 Y2", 1],
      ["X1", 2],
      ["Y1 Y2", 2],
      ["", 3],
    ] as const) {
      const labels = new Set(cosigned.split(" "));
      expect(isQuorum(policy, labels), cosigned).to.equal(missing === 0);
      expect(missingWitnesses(policy, labels), cosigned).to.equal(missing);
    }
    expect(isQuorum(parsed(["quorum none"]), new Set())).to.equal(true);
  });

  it("take names as octets: two that only look alike are two", () => {
    const kelvin = [
      "witness K " + keyOf(0),
      "witness \u212A " + keyOf(1),
      "group all2 all K \u212A",
      "quorum all2",
    ];
    expect(parsed(kelvin).witnesses).to.have.length(2);
  });

  it("are refused with the line and the rule", () => {
    const x1 = `witness X1 ${keyOf(0)}`;
    for (const [all, rule] of [
      [["quorum"], /line 1: must be: quorum NAME/],
      [[x1], /there is no quorum line/],
      [["quorum none", "quorum none"], /line 2: there is one quorum line/],
      [["quorum X1", x1], /line 1: must be defined on a line before/],
      [["log"], /must be: log VKEY/],
      [[`log ${keyOf(0)}`], /the key must be one of a log/],
      [[`witness X1 ${logKey}`], /the key must be one of a cosigner/],
      [[`log ${logKey}`, `log ${logKey}`], /line 2: a log's key stands once/],
      [[x1, `witness X2 ${keyOf(0)}`], /line 2: a cosigner's key stands once/],
      [[x1, `witness X1 ${keyOf(1)}`], /line 2: a name is defined once/],
      [[`witness none ${keyOf(0)}`], /none is a name of its own/],
      [[x1, "group G 2 X1"], /of 1 must be all, any or a number from 1 to 1/],
      [[x1, "group G 0 X1"], /must be all, any or a number/],
      [[x1, "group G 01 X1"], /must be all, any or a number/],
      [["group G all"], /must be: group NAME/],
      [["group G all H"], /a member must be defined/],
      [[x1, "group G all X1", "group H all X1"], /line 3: a witness or group is a member once/],
      [[x1, "group G all X1 X1"], /a member once/],
      [["witnesses none"], /must begin with log/],
      [["quorum none\u0000"], /no control character/],
      [[`witness X1 ${keyOf(0)} a b`], /must be: witness NAME VKEY/],
    ] as const) {
      expect(
        ruleOf(() => parsed(all)),
        all.join(" | "),
      ).to.match(rule);
    }
    expect(ruleOf(() => parsePolicy(utf8Encode("quorum none")))).to.match(/must end in a newline/);
  });

  describe("of a checkpoint", () => {
    const note = async (...by: readonly number[]): Promise<string> => {
      const checkpoint = { origin, size: 5n, root: naiveRoot(sampleEntries(5)) };
      const { text, signatures } = parseNote(await signCheckpoint(checkpoint, log));
      const own = by.map((index) => signCosignature(text, BigInt(1000 + index), witnesses[index] ?? log));
      return formatNote({ text, signatures: [...signatures, ...(await Promise.all(own))] });
    };
    const refused = async (text: string, policy: Policy): Promise<string> =>
      verifyByPolicy(text, policy, verifyOwn).then(
        () => "accepted",
        (error: unknown) => String(error),
      );

    it("accept what a quorum cosigned", async () => {
      const { checkpoint, cosigned } = await verifyByPolicy(await note(0, 2, 4), parsed(lines), verifyOwn);
      expect(checkpoint.size).to.equal(5n);
      expect(cosigned.map(({ timeSeconds }) => timeSeconds)).to.deep.equal([1000n, 1002n, 1004n]);
    });

    it("count a witness by its key: of two under one name, one is not both", async () => {
      const [old, next] = [signerOf("witness.example/w"), signerOf("witness.example/w")];
      const vkey = ({ name, publicKey }: typeof old): string =>
        formatVerifierKey({ name, use: "cosigner", publicKey });
      const policy = parsed([
        `log ${logKey}`,
        `witness old ${vkey(old)}`,
        `witness next ${vkey(next)}`,
        "group both all old next",
        "quorum both",
      ]);
      const { text, signatures } = parseNote(await note());
      const by = async (...signers: readonly (typeof old)[]): Promise<string> => {
        const own = signers.map((signer) => signCosignature(text, 7n, signer));
        return formatNote({ text, signatures: [...signatures, ...(await Promise.all(own))] });
      };
      expect(await refused(await by(old), policy)).to.match(/not cosigned by a quorum/);
      expect(await refused(await by(next), policy)).to.match(/not cosigned by a quorum/);
      expect(await refused(await by(old, next), policy)).to.equal("accepted");
    });

    it("take either log of one origin, and none whose line does not verify", async () => {
      const later = signerOf(origin);
      const laterKey = formatVerifierKey({ name: origin, use: "log", publicKey: later.publicKey });
      const checkpoint = { origin, size: 5n, root: naiveRoot(sampleEntries(5)) };
      const policy = parsed([`log ${logKey}`, `log ${laterKey}`, "quorum none"]);
      const [first, second] = [
        await signCheckpoint(checkpoint, log),
        await signCheckpoint(checkpoint, later),
      ];
      expect(await refused(first, policy)).to.equal("accepted");
      expect(await refused(second, policy)).to.equal("accepted");
      expect(await refused(await signCheckpoint(checkpoint, signerOf(origin)), policy)).to.match(
        /signed by the log's key/,
      );
      const { text, signatures } = parseNote(first);
      const [own] = parseNote(second).signatures;
      if (own === undefined) throw new Error("the log did not sign");
      const forged = { ...own, signature: own.signature.map((byte, at) => (at === 40 ? byte ^ 1 : byte)) };
      expect(await refused(formatNote({ text, signatures: [...signatures, forged] }), policy)).to.match(
        /signature must verify/,
      );
    });

    it("refuse fewer, one witness twice, a forged line, and another log", async () => {
      const policy = parsed(lines);
      expect(await refused(await note(0, 1, 2), policy)).to.match(/not cosigned by a quorum/);
      expect(await refused(await note(0, 0, 3), policy)).to.match(/not cosigned by a quorum/);
      const whole = await note(0, 1, 3);
      const forged = whole.replace(
        /(x2 [\w+/]{20})(.)/,
        (_, head: string, at: string) => head + (at === "A" ? "B" : "A"),
      );
      expect(await refused(forged, policy)).to.match(/cosignature must verify/);
      const other = parsed(["quorum none"]);
      expect(await refused(whole, other)).to.match(/a log that the policy does not name/);
      const stranger = signerOf(origin);
      const same = formatVerifierKey({ name: origin, use: "log", publicKey: stranger.publicKey });
      expect(await refused(whole, parsed([`log ${same}`, "quorum none"]))).to.match(
        /signed by the log's key/,
      );
    });
  });
});
