/** Self-signed certificates for tests, made without any program of the system. */
import { generate } from "selfsigned";

export type TestCertificate = { readonly cert: string; readonly key: string };

/** Subject alternative names: `DNS:…`, `URI:…` or `IP:…`. */
export const makeCertificate = async (
  commonName: string,
  alternativeNames: readonly string[],
): Promise<TestCertificate> => {
  const altNames = alternativeNames.map((name) => {
    const [, kind, value = ""] = /^(DNS|URI|IP):(.+)$/.exec(name) ?? [];
    if (kind === "IP") return { type: 7 as const, ip: value };
    return { type: kind === "URI" ? (6 as const) : (2 as const), value };
  });
  const made = await generate([{ name: "commonName", value: commonName }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "subjectAltName", altNames },
    ],
  });
  return { cert: made.cert, key: made.private };
};
