/**
 * Standard Webhooks signatures: `v1` (HMAC-SHA256, `whsec_` secrets) and `v1a` (Ed25519, `whsk_` keys), over
 * `<id>.<timestamp>.<body>`. Source: Standard Webhooks 1.0.0, signature scheme.
 */
import { createHmac, createPrivateKey, createPublicKey, sign, type KeyObject } from "node:crypto";
import { relayWebhookSecretsMax } from "../../limits.ts";
import { failRelay } from "../destination.ts";

export type SignatureScheme = "v1" | "v1a";

/** Signs one message. @returns the value of `webhook-signature`. */
export type SignMessage = (message: {
  readonly id: string;
  readonly timestampSeconds: number;
  readonly body: Uint8Array;
}) => string;

const prefixes = { v1: "whsec_", v1a: "whsk_" } as const;
const hmacBytes = { min: 24, max: 64 } as const;
const ed25519Bytes = 32;
/** PKCS #8 of an Ed25519 key up to the seed: RFC 8410 §7. */
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex");

const refuse = (rule: string): never => failRelay({ kind: "refused", rule });

/** @param bytes the seed, or the seed and its public key. */
const parseEd25519 = (bytes: Buffer): KeyObject => {
  const rule = "a whsk_ key must be an Ed25519 seed of 32 bytes, or the seed and its public key, in base64";
  if (bytes.length !== ed25519Bytes && bytes.length !== 2 * ed25519Bytes) return refuse(rule);
  const seed = bytes.subarray(0, ed25519Bytes);
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-ed25519Bytes);
  const given = bytes.subarray(ed25519Bytes);
  return given.length === 0 || given.equals(publicKey) ? key : refuse(rule);
};

type SignBytes = (content: Buffer) => Buffer;

const parseSecret = (scheme: SignatureScheme, text: string): SignBytes => {
  const prefix = prefixes[scheme];
  const encoded = text.slice(prefix.length);
  const bytes = Buffer.from(encoded, "base64");
  const isBase64 = bytes.toString("base64").replace(/=+$/, "") === encoded.replace(/=+$/, "");
  if (!text.startsWith(prefix) || !isBase64)
    return refuse(`the secret must be ${prefix} and base64, as signature = ${scheme} needs it`);
  if (scheme === "v1a") {
    const key = parseEd25519(bytes);
    return (content) => sign(null, content, key);
  }
  if (bytes.length < hmacBytes.min || bytes.length > hmacBytes.max)
    return refuse(`a whsec_ secret must have ${hmacBytes.min} to ${hmacBytes.max} bytes`);
  return (content) => createHmac("sha256", bytes).update(content).digest();
};

/**
 * @param text secrets with whitespace between; each signs, so that they can be rotated.
 * @throws RelayFault refused, without the secret.
 */
export const parseSecrets = (scheme: SignatureScheme, text: string): SignMessage => {
  const secrets = text.split(/\s+/).filter((one) => one !== "");
  if (secrets.length === 0 || secrets.length > relayWebhookSecretsMax)
    refuse(`there must be 1 to ${relayWebhookSecretsMax} secrets`);
  const signers = secrets.map((one) => parseSecret(scheme, one));
  return ({ id, timestampSeconds, body }) => {
    const content = Buffer.concat([Buffer.from(`${id}.${timestampSeconds}.`), body]);
    return signers.map((signBytes) => `${scheme},${signBytes(content).toString("base64")}`).join(" ");
  };
};
