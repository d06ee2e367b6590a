/**
 * The PEM files of TLS, read completely and checked as one set before use. At most `tlsFileBytesMax` each. Errors never
 * contain key file content.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { fail } from "../../errors.ts";
import { tlsFileBytesMax } from "../../limits.ts";
import { contextOf, type Tls } from "./tls.ts";

/** Paths of PEM files; empty for none. */
export type TlsPaths = {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string;
  readonly clientCertificate: Tls["clientCertificate"];
};

/** A consistent set of files. */
export type TlsSet = {
  readonly tls: Tls;
  /** The server's certificate first, then its issuers. */
  readonly chain: readonly X509Certificate[];
  readonly authorities: readonly X509Certificate[];
};

const readPem = async (key: string, path: string): Promise<Buffer> => {
  // O_NONBLOCK, so that a pipe at this path does not block the server.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK;
  try {
    await using file = await open(path, flags);
    const { size } = await file.stat();
    if (size <= tlsFileBytesMax) return await file.readFile();
  } catch (cause) {
    return fail({ kind: "invalidConfig", key, rule: `cannot read ${path}` }, { cause });
  }
  return fail({ kind: "invalidConfig", key, rule: `${path} must be at most ${tlsFileBytesMax} bytes` });
};

const begin = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/g;
const block = /-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----[\s\S]*?-----END \1-----/g;

type Certificates = {
  readonly parsed: readonly X509Certificate[];
  /** The certificates re-encoded, so that exactly the parsed ones are used. */
  readonly pem: Buffer;
};

const none: Certificates = { parsed: [], pem: Buffer.alloc(0) };

/** OpenSSL silently skips truncated or concatenated blocks, and thus a CA; here each block must be complete. */
const parseCertificates = (key: string, path: string, pem: Buffer): Certificates => {
  const refuse = (rule: string): never => fail({ kind: "invalidConfig", key, rule: `${path} ${rule}` });
  const text = pem.toString("latin1");
  const blocks = text.match(block) ?? [];
  if (blocks.length === 0) return refuse("holds no PEM certificate");
  if (blocks.length !== (text.match(begin) ?? []).length)
    return refuse("holds a certificate that is cut off");
  const parsed = blocks.map((one, index) => {
    try {
      return new X509Certificate(one);
    } catch {
      return refuse(`holds a certificate that cannot be parsed: number ${index + 1}`);
    }
  });
  return { parsed, pem: Buffer.from(`${blocks.join("\n")}\n`, "latin1") };
};

const noPair = { kind: "invalidConfig", key: "tls", rule: "certificate and key are not a PEM pair" } as const;

/** Throws without a cause, which may quote the files. */
const requirePair = (tls: Tls, leaf: X509Certificate | undefined): void => {
  let isPair: boolean;
  try {
    isPair = leaf?.checkPrivateKey(createPrivateKey(tls.key)) === true;
    createSecureContext(contextOf(tls));
  } catch {
    return fail(noPair);
  }
  if (!isPair) fail(noPair);
};

const parseChain = (path: string, pem: Buffer): Certificates => {
  try {
    return parseCertificates("tls.cert", path, pem);
  } catch (error) {
    // A key in place of the certificate most likely means swapped paths; report it so.
    if (pem.includes("PRIVATE KEY")) return fail(noPair);
    throw error;
  }
};

/** @returns null without a certificate. @throws invalidConfig naming the file. */
export const readTls = async (paths: TlsPaths): Promise<TlsSet | null> => {
  if (paths.cert === "") return null;
  const cert = await readPem("tls.cert", paths.cert);
  const key = await readPem("tls.key", paths.key);
  const clientCa = paths.clientCa === "" ? null : await readPem("tls.client_ca", paths.clientCa);
  const chain = parseChain(paths.cert, cert);
  const authorities = clientCa === null ? none : parseCertificates("tls.client_ca", paths.clientCa, clientCa);
  const tls: Tls = {
    cert: chain.pem,
    key,
    clientCa: clientCa === null ? null : authorities.pem,
    clientCertificate: paths.clientCertificate,
  };
  requirePair(tls, chain.parsed[0]);
  return { tls, chain: chain.parsed, authorities: authorities.parsed };
};

export const isSameSet = (a: Tls, b: Tls): boolean =>
  a.cert.equals(b.cert) &&
  a.key.equals(b.key) &&
  (a.clientCa === null || b.clientCa === null ? a.clientCa === b.clientCa : a.clientCa.equals(b.clientCa));

/** The earliest expiry, in Unix milliseconds; null if there are none. */
export const expiryMs = (certificates: readonly X509Certificate[]): number | null =>
  certificates.length === 0
    ? null
    : Math.min(...certificates.map(({ validToDate }) => validToDate.getTime()));

const untimelyOf = (
  key: string,
  certificates: readonly X509Certificate[],
  nowMs: number,
): readonly string[] =>
  certificates.flatMap(({ validFromDate, validToDate }) => {
    if (validToDate.getTime() <= nowMs)
      return [`${key}: a certificate ended at ${validToDate.toISOString()}`];
    const begins = validFromDate.getTime() > nowMs;
    return begins ? [`${key}: a certificate begins at ${validFromDate.toISOString()}`] : [];
  });

/** Validity period problems, as warnings only: the clock may be wrong. */
export const untimely = ({ chain, authorities }: TlsSet, nowMs: number): readonly string[] => [
  ...untimelyOf("tls.cert", chain, nowMs),
  ...untimelyOf("tls.client_ca", authorities, nowMs),
];
