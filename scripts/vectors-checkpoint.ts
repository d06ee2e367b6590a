/**
 * Golden vectors of checkpoints and cosignatures: `test/vectors/checkpoint.json`. Every note is built here from strings
 * and signed by Node's OpenSSL, so that a refused one breaks exactly the rule it names.
 */
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { naiveRoot, sampleEntries } from "../test/unit/merkle/naive-tree.ts";

interface SampleKey {
  readonly privateKey: KeyObject;
  readonly publicKey: Buffer;
}

const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");

/** The key whose seed is SHA-256 of the label. */
const sampleKey = (label: string): SampleKey => {
  const seed = createHash("sha256").update(label).digest();
  const der = Buffer.concat([PKCS8_ED25519, seed]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  return { privateKey, publicKey: spki.subarray(-32) };
};

const origin = "ledger.example/main";
const witnessName = "witness.example/w1";
const logKey = sampleKey("log");
const otherKey = sampleKey("other");
const witnessKey = sampleKey("witness");

const keyId = (name: string, type: number, key: SampleKey): Buffer =>
  createHash("sha256")
    .update(name)
    .update(Buffer.of(0x0a, type))
    .update(key.publicKey)
    .digest()
    .subarray(0, 4);

const line = (name: string, blob: Buffer): string => `\u2014 ${name} ${blob.toString("base64")}\n`;

const signatureBlob = (text: string, name = origin, key = logKey): Buffer =>
  Buffer.concat([keyId(name, 1, key), sign(null, Buffer.from(text), key.privateKey)]);

const logLine = (text: string, name = origin, key = logKey): string =>
  line(name, signatureBlob(text, name, key));

const cosignedMessage = (text: string, time: bigint): Buffer =>
  Buffer.from(`cosignature/v1\ntime ${time}\n${text}`);

const cosignature = (text: string, time: bigint, name = witnessName, key = witnessKey): string => {
  const stamp = Buffer.alloc(8);
  stamp.writeBigUInt64BE(time);
  return line(
    name,
    Buffer.concat([keyId(name, 4, key), stamp, sign(null, cosignedMessage(text, time), key.privateKey)]),
  );
};

const rootOf = (size: number): string => Buffer.from(naiveRoot(sampleEntries(size))).toString("base64");
const root = rootOf(13);
const text = `${origin}\n13\n${root}\n`;
const signed = (body: string): string => `${body}\n${logLine(body)}`;
const unknown = (label: string): string => line(`${label}.example/k`, Buffer.from(`${label} signs this`));

const times = (count: number, make: (order: number) => string): string =>
  Array.from({ length: count }, (_, order) => make(order)).join("");

interface Accepted {
  readonly name: string;
  readonly note: string;
  readonly size: string;
  readonly root: string;
  readonly origin?: string;
  readonly extensions?: readonly string[];
}

const accepting = (): readonly Accepted[] => {
  const sized = (size: string, of = root) => ({
    note: signed(`${origin}\n${size}\n${of}\n`),
    size,
    root: of,
  });
  const named = (as: string) => {
    const body = `${as}\n13\n${root}\n`;
    return { origin: as, note: `${body}\n${logLine(body, as)}`, size: "13", root };
  };
  const extended = (...extensions: readonly string[]) => ({
    note: signed(`${text}${extensions.map((extension) => `${extension}\n`).join("")}`),
    size: "13",
    root,
    extensions,
  });
  const around = (before: string, after: string) => ({
    note: `${text}\n${before}${logLine(text)}${after}`,
    size: "13",
    root,
  });
  return [
    { name: "a tree of 13", ...sized("13") },
    { name: "the empty tree", ...sized("0", rootOf(0)) },
    { name: "one leaf", ...sized("1", rootOf(1)) },
    { name: "size 256", ...sized("256", rootOf(256)) },
    { name: "size 2^53", ...sized("9007199254740992") },
    { name: "size 2^53 + 1", ...sized("9007199254740993") },
    { name: "size 2^63", ...sized("9223372036854775808") },
    { name: "size 2^64 - 1", ...sized("18446744073709551615") },
    { name: "root of zero bytes", ...sized("7", Buffer.alloc(32).toString("base64")) },
    { name: "root with + and / in base64", ...sized("7", Buffer.alloc(32, 0xfb).toString("base64")) },
    { name: "origin of one character", ...named("a") },
    { name: "origin outside ASCII", ...named("журнал.example/основной") },
    { name: "origin outside the basic plane", ...named("ledger.example/\u{1F512}") },
    { name: "origin with a scheme and a port", ...named("https://ledger.example:8443/main") },
    { name: "one extension line", ...extended("ext 1") },
    { name: "two extension lines", ...extended("first", "second") },
    { name: "extension line like a signature line", ...extended("\u2014 someone AAAAAAA=") },
    { name: "extension line outside ASCII", ...extended("naïve — 日本") },
    { name: "unknown signature first", ...around(unknown("a"), "") },
    { name: "unknown signature last", ...around("", unknown("a")) },
    {
      name: "sixteen signatures",
      ...around(
        times(8, (n) => unknown(`a${n}`)),
        times(7, (n) => unknown(`b${n}`)),
      ),
    },
    {
      name: "sixty-four signatures",
      ...around(
        "",
        times(63, (n) => unknown(`a${n}`)),
      ),
    },
    { name: "a witness cosigned", ...around("", cosignature(text, 1_700_000_000n)) },
    { name: "same name, other key", ...around(logLine(text, origin, otherKey), "") },
    { name: "same key id, other name", ...around(line("else.example/k", signatureBlob(text)), "") },
    { name: "a large unknown signature", ...around("", line("pq.example/k", Buffer.alloc(4096, 7))) },
    { name: "an unknown signature of one byte", ...around("", line("pq.example/k", Buffer.alloc(5, 7))) },
    { name: "the log's signature twice", ...around(logLine(text), "") },
  ];
};

interface Refused {
  readonly name: string;
  readonly note: string;
  readonly rule: string;
}

const SHAPE = "a signature line must be an em dash, a key name and base64, one space apart";
const NAME = "a key name must be non-empty, without white space and plus signs";
const SIZE = "size must be decimal without leading zeroes";
const ROOT = "root must be padded standard base64 of 32 bytes";
const CONTROL = "must hold no control character";
const LINES = "must have an origin, a size and a root line";
const BASE64 = "a signature must be padded standard base64";

const refusingText = (): readonly Refused[] => {
  const body = (name: string, content: string, rule: string): Refused => ({
    name,
    note: signed(content),
    rule,
  });
  const sized = (size: string, rule = SIZE): Refused =>
    body(`size ${JSON.stringify(size)}`, `${origin}\n${size}\n${root}\n`, rule);
  const rooted = (name: string, of: string): Refused => body(name, `${origin}\n13\n${of}\n`, ROOT);
  return [
    ...["", "013", "00", "-1", "+13", "13 ", " 13", "0x0d", "1e3", "13.0", "1_3", "١٣"].map((size) =>
      sized(size),
    ),
    sized("18446744073709551616", "size must be a uint64"),
    sized("9".repeat(400), "size must be a uint64"),
    rooted("root without padding", root.replace("=", "")),
    rooted("root with double padding", `${root}=`),
    rooted("root in base64url", Buffer.alloc(32, 0xfb).toString("base64url").concat("=")),
    rooted("root in hex", Buffer.alloc(32).toString("hex")),
    rooted("root with unused bits set", `${Buffer.alloc(32).toString("base64").slice(0, 42)}B=`),
    rooted("root of 31 bytes", Buffer.alloc(31).toString("base64")),
    rooted("root of 33 bytes", Buffer.alloc(33).toString("base64")),
    rooted("root followed by a space", `${root} `),
    rooted("no root", ""),
    body("empty origin", `\n13\n${root}\n`, "origin must not be empty"),
    body("no root line", `${origin}\n13\n`, LINES),
    body("one line", `${origin}\n`, LINES),
    body("empty extension line", `${text}\n`, "an extension line must not be empty"),
    body("empty line between extensions", `${text}a\n\nb\n`, "an extension line must not be empty"),
    body("carriage returns", text.replaceAll("\n", "\r\n"), CONTROL),
    body("tab in the origin", `ledger\texample\n13\n${root}\n`, CONTROL),
    body("zero byte in an extension", `${text}a\u0000b\n`, CONTROL),
    body("escape sequence in an extension", `${text}\u001b[31mred\n`, CONTROL),
    { name: "another log's origin", ...foreign("ledger.example/other") },
    { name: "origin in other case", ...foreign("Ledger.example/main") },
    { name: "origin with a byte order mark", ...foreign(`\uFEFF${origin}`) },
  ];
};

/** A note signed by the log's key, but for another log. */
const foreign = (as: string): { note: string; rule: string } => {
  const body = `${as}\n13\n${root}\n`;
  return { note: `${body}\n${logLine(body)}`, rule: "origin must be the one expected" };
};

const refusingNote = (): readonly Refused[] => {
  const raw = (name: string, note: string, rule: string): Refused => ({ name, note, rule });
  const also = (name: string, extra: string, rule: string): Refused =>
    raw(name, `${text}\n${logLine(text)}${extra}`, rule);
  const good = signatureBlob(text);
  const bent = Buffer.from(good);
  bent.writeUInt8(bent.readUInt8(20) ^ 1, 20);
  const base64 = good.toString("base64");
  return [
    raw("empty", "", "must end in a newline"),
    raw("only newlines", "\n\n", "must have at least one signature"),
    raw("text alone", text, "must have a blank line before its signatures"),
    raw("no signature", `${text}\n`, "must have at least one signature"),
    raw("no blank line", `${text}${logLine(text)}`, "must have a blank line before its signatures"),
    raw("no newline at the end", signed(text).slice(0, -1), "must end in a newline"),
    raw("blank line after the signatures", `${signed(text)}\n`, "must have at least one signature"),
    raw("zero byte in a key name", `${signed(text)}\u2014 a\u0000b ${base64}\n`, CONTROL),
    also("text after the signatures", "and more\n", SHAPE),
    also("hyphen for em dash", `- ${origin} ${base64}\n`, SHAPE),
    also("en dash for em dash", `\u2013 ${origin} ${base64}\n`, SHAPE),
    also("no space after the dash", `\u2014${origin} ${base64}\n`, SHAPE),
    also("two spaces before the base64", `\u2014 ${origin}  ${base64}\n`, SHAPE),
    also("space at the end", `\u2014 ${origin} ${base64} \n`, SHAPE),
    also("no base64", `\u2014 ${origin}\n`, SHAPE),
    also("three fields", `\u2014 ${origin} ${base64} ${base64}\n`, SHAPE),
    also("empty key name", `\u2014  ${base64}\n`, NAME),
    also("plus in a key name", `\u2014 a+b ${base64}\n`, NAME),
    also("no-break space in a key name", `\u2014 a\u00a0b ${base64}\n`, NAME),
    also("next-line character in a key name", `\u2014 a\u0085b ${base64}\n`, NAME),
    also("base64 without padding", `\u2014 a ${base64.replaceAll("=", "")}\n`, BASE64),
    also("base64url", `\u2014 a ${Buffer.alloc(68, 0xfb).toString("base64url")}=\n`, BASE64),
    also("unused bits set", "\u2014 a AAAAAAB=\n", BASE64),
    also(
      "key id alone",
      "\u2014 a AAAAAA==\n",
      "a signature must be a 4-byte key id and at least one byte more",
    ),
    also("three bytes", "\u2014 a AAAA\n", "a signature must be a 4-byte key id and at least one byte more"),
    also(
      "sixty-five signatures",
      times(64, (n) => unknown(`a${n}`)),
      "must have at most 64 signatures",
    ),
    raw(
      "signed by another key",
      `${text}\n${logLine(text, origin, otherKey)}`,
      "must be signed by the log's key",
    ),
    raw(
      "signed under another name",
      `${text}\n${logLine(text, "else.example/k")}`,
      "must be signed by the log's key",
    ),
    raw(
      "unknown signatures alone",
      `${text}\n${unknown("a")}${unknown("b")}`,
      "must be signed by the log's key",
    ),
    raw("only a cosignature", `${text}\n${cosignature(text, 1n)}`, "must be signed by the log's key"),
    raw("signature with a bit flipped", `${text}\n${line(origin, bent)}`, "the signature must verify"),
    raw(
      "signature of another text",
      `${text}\n${logLine(text.replace("13", "14"))}`,
      "the signature must verify",
    ),
    raw("signature covers the blank line", `${text}\n${logLine(`${text}\n`)}`, "the signature must verify"),
    raw(
      "signature of zero bytes",
      `${text}\n${line(origin, Buffer.concat([good.subarray(0, 4), Buffer.alloc(64)]))}`,
      "the signature must verify",
    ),
    raw(
      "one good, one bad signature by the log",
      `${text}\n${logLine(text)}${line(origin, bent)}`,
      "the signature must verify",
    ),
    raw(
      "signature of 63 bytes",
      `${text}\n${line(origin, good.subarray(0, 67))}`,
      "an Ed25519 signature must be 64 bytes",
    ),
    raw(
      "signature of 65 bytes",
      `${text}\n${line(origin, Buffer.concat([good, Buffer.of(0)]))}`,
      "an Ed25519 signature must be 64 bytes",
    ),
  ];
};

const cosignatures = () => {
  const note = (...lines: readonly string[]): string => `${text}\n${logLine(text)}${lines.join("")}`;
  const time = 1_700_000_000n;
  const blob = Buffer.from(cosignature(text, time).split(" ").at(-1)?.trim() ?? "", "base64");
  const restamped = Buffer.from(blob);
  restamped.writeBigUInt64BE(time + 1n, 4);
  const beyond = Buffer.from(blob);
  beyond.writeBigUInt64BE(2n ** 63n, 4);
  return {
    accept: [
      { name: "one cosignature", note: note(cosignature(text, time)), time: String(time) },
      { name: "time 0", note: note(cosignature(text, 0n)), time: "0" },
      { name: "time 2^63 - 1", note: note(cosignature(text, 2n ** 63n - 1n)), time: String(2n ** 63n - 1n) },
      { name: "the newest of two", note: note(cosignature(text, 9n), cosignature(text, 7n)), time: "9" },
      {
        name: "another witness too",
        note: note(cosignature(text, 5n, "w2.example/k", otherKey), cosignature(text, time)),
        time: String(time),
      },
    ],
    refuse: [
      { name: "none", note: note(), rule: "must be cosigned by the witness's key" },
      {
        name: "another key",
        note: note(cosignature(text, time, witnessName, otherKey)),
        rule: "must be cosigned by the witness's key",
      },
      {
        name: "plain signature by the witness",
        note: note(logLine(text, witnessName, witnessKey)),
        rule: "must be cosigned by the witness's key",
      },
      {
        name: "other time than signed",
        note: note(line(witnessName, restamped)),
        rule: "the cosignature must verify",
      },
      {
        name: "time 2^63",
        note: note(line(witnessName, beyond)),
        rule: "a cosignature's time must be below 2^63 seconds",
      },
      {
        name: "without its time",
        note: note(line(witnessName, Buffer.concat([blob.subarray(0, 4), blob.subarray(12)]))),
        rule: "a cosignature must be 72 bytes",
      },
      {
        name: "of another text",
        note: note(cosignature(text.replace("13", "12"), time)),
        rule: "the cosignature must verify",
      },
    ],
  };
};

export const checkpointVectors = async (): Promise<unknown> => ({
  about:
    "Checkpoints to verify under `origin` (a case's own, where it has one) and `publicKey`; cosignatures under `witness`. " +
    "refuse: must fail by the rule named. Seeds are SHA-256 of `log`, `other`, `witness`. Keys are hex, roots base64.",
  origin,
  publicKey: logKey.publicKey.toString("hex"),
  keyId: keyId(origin, 1, logKey).toString("hex"),
  witness: {
    name: witnessName,
    publicKey: witnessKey.publicKey.toString("hex"),
    keyId: keyId(witnessName, 4, witnessKey).toString("hex"),
  },
  accept: accepting(),
  refuse: [...refusingText(), ...refusingNote()],
  cosignatures: cosignatures(),
});
