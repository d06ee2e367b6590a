/**
 * Verifying a committed record as a stranger would: no code of the server, only its formats. From the bytes of the
 * envelope and what the genesis record says.
 */
import { createHash, createPublicKey, verify } from "node:crypto";

/** Enough CBOR for what is looked at. A float is not: it reads as null. A tag is passed over. */
type Plain = null | boolean | number | string | Uint8Array | readonly Plain[] | ReadonlyMap<Plain, Plain>;

const read = (bytes: Uint8Array, at: number): readonly [value: Plain, next: number] => {
  const head = bytes[at] ?? -1;
  const [major, short] = [head >> 5, head & 31];
  const width = short < 24 ? 0 : 2 ** (short - 24);
  const length =
    width === 0 ? short : Number(`0x${Buffer.from(bytes.subarray(at + 1, at + 1 + width)).toString("hex")}`);
  let next = at + 1 + width;
  if (major === 7) return [width > 0 || short === 22 ? null : short === 21, next];
  const item = (): Plain => {
    const [value, end] = read(bytes, next);
    next = end;
    return value;
  };
  if (major === 0) return [length, next];
  if (major === 1) return [-1 - length, next];
  if (major === 2) return [bytes.subarray(next, next + length), next + length];
  if (major === 3) return [Buffer.from(bytes.subarray(next, next + length)).toString(), next + length];
  if (major === 4) return [Array.from({ length }, item), next];
  if (major === 5) return [new Map(Array.from({ length }, () => [item(), item()] as const)), next];
  return [item(), next];
};

const plain = (bytes: Uint8Array): Plain => read(bytes, 0)[0];

const list = (value: Plain | undefined): readonly Plain[] => (Array.isArray(value) ? value : []);
const map = (value: Plain | undefined): ReadonlyMap<Plain, Plain> =>
  value instanceof Map ? value : new Map();
const bytesIn = (value: Plain | undefined): Uint8Array =>
  value instanceof Uint8Array ? value : new Uint8Array(0);

const byteString = (bytes: Uint8Array): Uint8Array => {
  const { length } = bytes;
  const head =
    length < 24 ? [0x40 + length] : length < 256 ? [0x58, length] : [0x59, length >> 8, length & 255];
  return Uint8Array.of(...head, ...bytes);
};

const sha256 = (...parts: readonly Uint8Array[]): string =>
  createHash("sha256").update(Buffer.concat(parts)).digest("hex");

const isSigned = (rawKey: Uint8Array, statement: readonly Plain[]): boolean => {
  const [header, , payload, signature] = statement.map(bytesIn);
  const nothing = new Uint8Array(0);
  const message = Buffer.concat([
    Uint8Array.of(0x84, 0x6a),
    Buffer.from("Signature1"),
    byteString(header ?? nothing),
    byteString(nothing),
    byteString(payload ?? nothing),
  ]);
  const x = Buffer.from(rawKey).toString("base64url");
  const key = createPublicKey({ format: "jwk", key: { kty: "OKP", crv: "Ed25519", x } });
  return verify(null, message, key, signature ?? nothing);
};

/** SHA-256 of the COSE key (RFC 9679). */
const thumbprint = (rawKey: Uint8Array): string =>
  sha256(Uint8Array.of(0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20), rawKey);

/** Which witnesses of the genesis record have signed the record in the envelope, and whether its server has. */
export const signersOf = (envelope: Uint8Array, genesisPayload: Uint8Array) => {
  const genesis = map(plain(genesisPayload));
  const [statementBytes, attestations] = list(plain(envelope));
  const statement = list(plain(bytesIn(statementBytes)));
  const record = sha256(bytesIn(statement[2]));
  const signers = new Set<Plain>();
  for (const bytes of list(attestations)) {
    const attestation = list(plain(bytesIn(bytes)));
    const header = map(plain(bytesIn(attestation[0])));
    const claims = map(header.get(15));
    const said = map(plain(bytesIn(attestation[2])));
    const kid = Buffer.from(bytesIn(header.get(4))).toString("hex");
    const witness = list(genesis.get("witnesses")).find(
      (each) => thumbprint(bytesIn(map(each).get("public_key"))) === kid,
    );
    const isGood =
      claims.get(1) === genesis.get("origin") &&
      claims.get(2) === said.get("proposal") &&
      Buffer.from(bytesIn(said.get("record"))).toString("hex") === record &&
      said.get("epoch") === 1 &&
      said.get("verdict") === "approve" &&
      isSigned(bytesIn(map(witness).get("public_key")), attestation);
    if (isGood) signers.add(map(witness).get("id") ?? null);
  }
  const serverKey = bytesIn(map(genesis.get("keys")).get("record"));
  return { record, k: genesis.get("k"), signers: [...signers], servers: isSigned(serverKey, statement) };
};
