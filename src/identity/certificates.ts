/**
 * Client certificates: which principal ids one stands for. Pure. TLS has verified chain, dates and possession before.
 * A SPIFFE id `spiffe://<origin>/<principal id>` decides alone; without one each DNS name `N` stands for `dns:N`.
 * Source: docs/spec/tokens.md §4; SPIFFE-ID §2, X509-SVID §2. At most `certificateNamesMax` DNS names.
 */
import { certificateNamesMax } from "../limits.ts";
import { canonicalSubject } from "@sigil/core/record";
import { refuse } from "./claims.ts";

/** What is read of a certificate: the parts of `tls.PeerCertificate` that name its holder. */
export type PeerNames = {
  /** As Node prints it: `DNS:a.example, URI:spiffe://…`; a name with unusual characters is quoted. */
  readonly subjectaltname?: string | undefined;
  /** The certificate itself, DER. */
  readonly raw?: Uint8Array | undefined;
};

const spiffeScheme = "spiffe://";
const dnsName = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

const unmapped = (rule: string): never => refuse("CERTIFICATE_UNMAPPED", rule);

type AltName = { readonly type: string; readonly value: string };

/** A quoted name holds characters that no name here may hold, and could be made to look like two: refused whole. */
const parseAltNames = (text: string): readonly AltName[] => {
  if (text.includes('"')) return unmapped("the certificate's alternative names hold unusual characters");
  return text.split(", ").map((entry) => {
    const colon = entry.indexOf(":");
    return { type: entry.slice(0, colon), value: entry.slice(colon + 1) };
  });
};

/** As everywhere, the SPIFFE id of the own trust domain is another spelling of what follows it. */
const principalOfSpiffe = (uri: string, origin: string): string => {
  const spelling = canonicalSubject(uri, origin);
  if (spelling.kind === "refused") return unmapped(`the certificate's SPIFFE id ${spelling.rule}`);
  return spelling.text.startsWith("spiffe:/")
    ? unmapped(`the certificate's trust domain must be "${origin}"`)
    : spelling.text;
};

/** The principal id that a host's name stands for, or undefined for what is no such name. */
export const principalOfHost = (name: string): string | undefined => {
  const host = name.toLowerCase();
  return dnsName.test(host) ? `dns:${host}` : undefined;
};

/**
 * Principal ids that the certificate may stand for; exactly one of them must be enrolled.
 * @throws unauthenticated CERTIFICATE_UNMAPPED when it stands for none.
 */
export const principalsOfCertificate = (certificate: PeerNames, origin: string): readonly string[] => {
  const names = parseAltNames(certificate.subjectaltname ?? "");
  const uris = names.filter(({ type }) => type === "URI");
  const [spiffe] = uris.filter(({ value }) => value.startsWith(spiffeScheme));
  if (spiffe !== undefined) {
    if (uris.length > 1) unmapped("a certificate with a SPIFFE id must have no other URI");
    return [principalOfSpiffe(spiffe.value, origin)];
  }
  const hosts = names
    .filter(({ type }) => type === "DNS")
    .flatMap(({ value }) => principalOfHost(value) ?? []);
  const ids = [...new Set(hosts)];
  if (ids.length === 0) unmapped("the certificate has neither a SPIFFE id nor a DNS name");
  if (ids.length > certificateNamesMax)
    unmapped(`the certificate has more than ${certificateNamesMax} DNS names`);
  return ids;
};
