/** Cases of COSE_Sign1 statements. Refused ones are built from parts, each breaking exactly the rule it names. */
import { concatBytes, fromHex, toHex } from "@sigil/core/bytes";
import { cborEncode, cborEncodeHeader, type HeaderMap, type HeaderValue, cborRules } from "@sigil/core/cbor";
import {
  attestationContentType,
  coseKeyThumbprint,
  coseRules,
  encodeProtected,
  encodeStatement,
  recordContentType,
  toBeSigned,
  type ContentType,
} from "@sigil/core/cose";
import { sampleKey } from "./sample-key.ts";

const signer = sampleKey("record");
const kid = coseKeyThumbprint(signer.publicKey);
const origin = "ledger.example/main";
const subject = "acme/user/notes/1";
const payload = cborEncode({ a: 1 });

const accepted: readonly (readonly [string, ContentType, string, string, Uint8Array])[] = [
  ["a record", recordContentType, origin, subject, payload],
  ["an attestation", attestationContentType, origin, "proposals/7", payload],
  ["an empty payload", recordContentType, origin, subject, new Uint8Array(0)],
  ["a payload that is not CBOR", recordContentType, origin, subject, fromHex("ff00ff")],
  ["a payload of 300 bytes", recordContentType, origin, subject, new Uint8Array(300).fill(7)],
  ["a payload of 70 bytes", recordContentType, origin, subject, new Uint8Array(70).fill(1)],
  ["an origin of one character", recordContentType, "o", subject, payload],
  ["an origin beyond ASCII", recordContentType, "büro.example", subject, payload],
  ["a subject of 255 bytes", recordContentType, origin, `acme/user/${"x".repeat(245)}`, payload],
];

const accept = accepted.map(([name, contentType, issuer, about, body]) => {
  const protectedBytes = encodeProtected({ contentType, kid, origin: issuer, subject: about });
  const signed = toBeSigned(protectedBytes, body);
  const signature = signer.sign(signed);
  return {
    name: `statement over ${name}`,
    statement: toHex(encodeStatement({ protectedBytes, payload: body, signature })),
    content_type: contentType,
    kid: toHex(kid),
    origin: issuer,
    subject: about,
    protected: toHex(protectedBytes),
    payload: toHex(body),
    to_be_signed: toHex(signed),
    signature: toHex(signature),
    public_key: toHex(signer.publicKey),
  };
});

type Header = readonly (readonly [number | string, HeaderValue])[];
const claims: HeaderMap = new Map<number, HeaderValue>([
  [1, origin],
  [2, subject],
]);
const good: Header = [
  [1, -8],
  [3, recordContentType],
  [4, kid],
  [15, claims],
];
const headerWith = (key: number | string, value: HeaderValue): Uint8Array =>
  cborEncodeHeader(new Map([...good, [key, value]]));
const headerWithout = (key: number): Uint8Array =>
  cborEncodeHeader(new Map(good.filter(([name]) => name !== key)));

const goodHeader = cborEncodeHeader(new Map(good));
const bstr = (bytes: Uint8Array): Uint8Array => cborEncode(bytes);
const signatureOver = (header: Uint8Array): Uint8Array => signer.sign(toBeSigned(header, payload));

/** A statement with some parts replaced; others are valid. Parts are encoded items in hex. */
const made = (parts: {
  tag?: string;
  head?: string;
  header?: string;
  unprotected?: string;
  payload?: string;
  signature?: string;
  after?: string;
}): string =>
  [
    parts.tag ?? "d2",
    parts.head ?? "84",
    parts.header ?? toHex(bstr(goodHeader)),
    parts.unprotected ?? "a0",
    parts.payload ?? toHex(bstr(payload)),
    parts.signature ?? toHex(bstr(signatureOver(goodHeader))),
    parts.after ?? "",
  ].join("");
const withHeader = (header: Uint8Array): string =>
  made({ header: toHex(bstr(header)), signature: toHex(bstr(signatureOver(header))) });

const inHeader = (offset: number, rule: string): string => `protected header at offset ${offset}: ${rule}`;
const signature = toHex(signatureOver(goodHeader));

const refused: readonly (readonly [
  name: string,
  hex: string,
  kind: "malformedCose" | "malformedCbor",
  rule: string,
])[] = [
  ["no bytes", "", "malformedCose", coseRules.tag],
  ["no tag", made({ tag: "" }), "malformedCose", coseRules.tag],
  ["tag 98, COSE_Sign", made({ tag: "d862" }), "malformedCose", coseRules.tag],
  ["tag 18 in two bytes", made({ tag: "d812" }), "malformedCose", coseRules.tag],
  ["array of three", made({ head: "83" }), "malformedCose", coseRules.fields],
  ["array of five", made({ head: "85", after: "f6" }), "malformedCose", coseRules.fields],
  ["array of indefinite length", made({ head: "9f", after: "ff" }), "malformedCose", coseRules.fields],
  ["header as a map", made({ header: toHex(goodHeader) }), "malformedCose", coseRules.protectedBytes],
  [
    "kid in the unprotected header",
    made({ unprotected: `a1045820${toHex(kid)}` }),
    "malformedCose",
    coseRules.unprotected,
  ],
  ["unprotected null", made({ unprotected: "f6" }), "malformedCose", coseRules.unprotected],
  ["detached payload", made({ payload: "f6" }), "malformedCose", coseRules.payload],
  ["payload as a map", made({ payload: "a0" }), "malformedCose", coseRules.payload],
  [
    "signature of 63 bytes",
    made({ signature: `583f${signature.slice(2)}` }),
    "malformedCose",
    coseRules.signature,
  ],
  ["signature of 65 bytes", made({ signature: `5841${signature}00` }), "malformedCose", coseRules.signature],
  ["signature as text", made({ signature: "6161" }), "malformedCose", coseRules.signature],
  [
    "payload length not in its shortest form",
    made({ payload: `58${payload.length.toString(16).padStart(2, "0")}${toHex(payload)}` }),
    "malformedCbor",
    cborRules.notShortest,
  ],
  [
    "payload of indefinite length",
    made({ payload: `5f${toHex(bstr(payload))}ff` }),
    "malformedCbor",
    cborRules.indefinite,
  ],
  ["cut in the signature", made({}).slice(0, -2), "malformedCbor", cborRules.truncated],
  ["cut after the payload", made({ signature: "" }), "malformedCbor", cborRules.truncated],
  ["a byte after", made({ after: "00" }), "malformedCbor", cborRules.trailing],
  ["an empty header", withHeader(new Uint8Array(0)), "malformedCose", inHeader(0, cborRules.truncated)],
  ["an empty header map", withHeader(fromHex("a0")), "malformedCose", coseRules.header],
  ["a header that is a list", withHeader(fromHex("80")), "malformedCose", coseRules.header],
  ["no alg", withHeader(headerWithout(1)), "malformedCose", coseRules.header],
  ["no content type", withHeader(headerWithout(3)), "malformedCose", coseRules.header],
  ["no kid", withHeader(headerWithout(4)), "malformedCose", coseRules.header],
  ["no claims", withHeader(headerWithout(15)), "malformedCose", coseRules.header],
  ["crit besides", withHeader(headerWith(2, [15])), "malformedCose", coseRules.header],
  ["a text label besides", withHeader(headerWith("note", 1)), "malformedCose", coseRules.header],
  [
    "crit in place of alg",
    withHeader(cborEncodeHeader(new Map([...good.slice(1), [2, [15]]]))),
    "malformedCose",
    coseRules.header,
  ],
  ["alg ES256", withHeader(headerWith(1, -7)), "malformedCose", coseRules.alg],
  ["alg Ed25519 by its newer number", withHeader(headerWith(1, -19)), "malformedCose", coseRules.alg],
  ["alg as text", withHeader(headerWith(1, "EdDSA")), "malformedCose", coseRules.alg],
  [
    "content type of another version",
    withHeader(headerWith(3, "application/vnd.sigil.record.v2+cbor")),
    "malformedCose",
    coseRules.contentType,
  ],
  ["content type as a number", withHeader(headerWith(3, 60)), "malformedCose", coseRules.contentType],
  ["kid of 31 bytes", withHeader(headerWith(4, kid.subarray(1))), "malformedCose", coseRules.kid],
  ["kid as text", withHeader(headerWith(4, "key")), "malformedCose", coseRules.kid],
  [
    "claims with one more",
    withHeader(headerWith(15, new Map([...claims, [6, 0]]))),
    "malformedCose",
    coseRules.claims,
  ],
  [
    "claims without a subject",
    withHeader(headerWith(15, new Map([[1, origin]]))),
    "malformedCose",
    coseRules.claims,
  ],
  [
    "claims by text labels",
    withHeader(
      headerWith(
        15,
        new Map([
          ["iss", origin],
          ["sub", subject],
        ]),
      ),
    ),
    "malformedCose",
    coseRules.claims,
  ],
  [
    "empty subject",
    withHeader(
      headerWith(
        15,
        new Map([
          [1, origin],
          [2, ""],
        ]),
      ),
    ),
    "malformedCose",
    coseRules.claims,
  ],
  [
    "origin as bytes",
    withHeader(
      headerWith(
        15,
        new Map<number, HeaderValue>([
          [1, kid],
          [2, subject],
        ]),
      ),
    ),
    "malformedCose",
    coseRules.claims,
  ],
  [
    "header keys out of order",
    withHeader(concatBytes(fromHex("a2"), fromHex("0300"), fromHex("0127"))),
    "malformedCose",
    inHeader(3, cborRules.keyOrder),
  ],
  ["alg twice", withHeader(fromHex("a201270127")), "malformedCose", inHeader(3, cborRules.keyTwice)],
  [
    "a byte after the header",
    withHeader(concatBytes(goodHeader, fromHex("00"))),
    "malformedCose",
    inHeader(goodHeader.length, cborRules.trailing),
  ],
  [
    "a byte string key in the header",
    withHeader(fromHex("a1410127")),
    "malformedCose",
    inHeader(1, cborRules.keyType),
  ],
];

const thumbprints = ["record", "checkpoint", "witness", "principal"].map((label) => {
  const { publicKey } = sampleKey(label);
  return {
    name: `key of ${label}`,
    public_key: toHex(publicKey),
    thumbprint: toHex(coseKeyThumbprint(publicKey)),
  };
});

export const coseVectors = (): unknown => ({
  accept,
  refuse: refused.map(([name, hex, kind, rule]) => ({ name, hex, kind, rule })),
  thumbprints,
});
