/** Certificates for tests, made without any program of the system: by themselves, or issued by an authority. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { generate } from "selfsigned";

export type TestCertificate = { readonly cert: string; readonly key: string };

/** From when and until when a certificate is valid; from now on for a year, unless told. */
export type Validity = { readonly notBefore: Date; readonly notAfter: Date };

/** @param alternativeNames `DNS:…`, `URI:…` or `IP:…`, by commas. @param issuer without one, it signs itself. */
export const makeCertificate = async (
  commonName: string,
  alternativeNames: string,
  issuer?: TestCertificate,
  validity?: Validity,
): Promise<TestCertificate> => {
  const altNames = alternativeNames.split(",").map((name) => {
    const [, kind, value = ""] = /^(DNS|URI|IP):(.+)$/.exec(name) ?? [];
    if (kind === "IP") return { type: 7 as const, ip: value };
    return { type: kind === "URI" ? (6 as const) : (2 as const), value };
  });
  const made = await generate([{ name: "commonName", value: commonName }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    extensions: [
      { name: "basicConstraints", cA: issuer === undefined, critical: true },
      { name: "subjectAltName", altNames },
    ],
    ...(issuer === undefined ? {} : { ca: issuer }),
    ...(validity && { notBeforeDate: validity.notBefore, notAfterDate: validity.notAfter }),
  });
  return { cert: made.cert, key: made.private };
};

/** Paths of a certificate and its key. */
export type Pair = { readonly cert: string; readonly key: string };

export type Authority = Disposable & {
  /** Path of the authority's certificate. */
  readonly ca: string;
  /** Paths of a new certificate with such alternative names and its key. */
  readonly issue: (name: string, alternativeNames: string) => Promise<Pair>;
};

export const createAuthority = async (): Promise<Authority> => {
  const directory = mkdtempSync(join(tmpdir(), "sigil-tls-"));
  const keep = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  const authority = await makeCertificate(`authority in ${basename(directory)}`, "DNS:authority.test");
  return {
    ca: keep("ca.pem", authority.cert),
    issue: async (name, alternativeNames) => {
      const { cert, key } = await makeCertificate(name, alternativeNames, authority);
      return { cert: keep(`${name}.pem`, cert), key: keep(`${name}-key.pem`, key) };
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
};

export const pemOf = ({ cert, key }: Pair): { readonly cert: Buffer; readonly key: Buffer } => ({
  cert: readFileSync(cert),
  key: readFileSync(key),
});
