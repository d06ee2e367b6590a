/**
 * The deployment's signing keys on a token, which they never leave: of Ed25519 alone. Each is a pair of objects with
 * one label, `<name>/<role>/<serial>`, and one id. The ledger says by public key which one signs. Source: PKCS #11 3.0
 * §2.3.10; docs/operating/keys.md.
 */
import { randomBytes } from "node:crypto";
import { equalBytes, parseSignature, toBase64Url, type PublicKey } from "@sigil/core/bytes";
import { coseKeyThumbprint } from "@sigil/core/cose";
import { fail } from "../../errors.ts";
import { Mutex } from "../../mutex.ts";
import { type Ed25519Role, checkPublicKey, verifyOwn } from "@sigil/core/keys";
import type { Signer } from "../signing/sign.ts";
import type { SigningCustody } from "../signing/signing-custody.ts";
import { findObjects, kept, outside, readAttribute, staysThere } from "./objects.ts";
import { CK, type Handle } from "./module.ts";
import type { TokenInputs } from "./pin.ts";
import { Token, type Session } from "./token.ts";
import type { TokenUri } from "./uri.ts";

/** DER of id-Ed25519. Source: RFC 8410 §3. */
const ed25519Parameters = Buffer.of(0x06, 0x03, 0x2b, 0x65, 0x70);
const mechanisms = ["CKM_EC_EDWARDS_KEY_PAIR_GEN", "CKM_EDDSA"] as const;
const idBytes = 16;
const signatureBytes = 64;
/** Test message, signed once by each key when it is opened; not a valid record, checkpoint or token. */
const probe = new TextEncoder().encode("sigil/probe/v1");

const failKey = (rule: string): never => fail({ kind: "keyUnavailable", rule });

type Place = { readonly token: Token; readonly name: string };
type Held = {
  readonly role: Ed25519Role;
  readonly serial: number;
  readonly id: Buffer;
  readonly signer: Signer;
};

/** A private key on the token, with its label and id. */
type Named = {
  readonly role: Ed25519Role;
  readonly serial: number;
  readonly id: Buffer;
  readonly label: string;
};

const ofClass = (keyClass: number, id?: Buffer) => [
  { type: CK.CKA_CLASS, value: keyClass },
  { type: CK.CKA_KEY_TYPE, value: CK.CKK_EC_EDWARDS },
  ...(id === undefined ? [] : [{ type: CK.CKA_ID, value: id }]),
];

const labelPattern = /^(record|checkpoint)\/([1-9][0-9]{0,9})$/;

const parseLabel = (label: string, name: string): Pick<Named, "role" | "serial"> | undefined => {
  const rest = label.startsWith(`${name}/`) ? label.slice(name.length + 1) : "";
  const [, role, serial] = labelPattern.exec(rest) ?? [];
  return role === undefined ? undefined : { role: role as Ed25519Role, serial: Number(serial) };
};

const listKeys = (session: Session, name: string): readonly Named[] =>
  findObjects(session, ofClass(CK.CKO_PRIVATE_KEY)).flatMap((object) => {
    const label = new TextDecoder().decode(readAttribute(session, object, CK.CKA_LABEL));
    const id = readAttribute(session, object, CK.CKA_ID);
    const parsed = parseLabel(label, name);
    return parsed === undefined || id === undefined ? [] : [{ ...parsed, label, id: Buffer.from(id) }];
  });

/** A point is a DER OCTET STRING in PKCS #11 3.0, but raw in some libraries. */
const pointBytes = (value: Uint8Array): Uint8Array =>
  value.length === 34 && value[0] === 0x04 && value[1] === 0x20 ? value.subarray(2) : value;

const readPublicKey = (session: Session, { id, label }: Named): PublicKey => {
  for (const keyClass of [CK.CKO_PUBLIC_KEY, CK.CKO_PRIVATE_KEY]) {
    const [object] = findObjects(session, ofClass(keyClass, id));
    const point = object && readAttribute(session, object, CK.CKA_EC_POINT);
    if (point !== undefined && pointBytes(point).length === 32) return checkPublicKey(pointBytes(point));
  }
  return failKey(`the token has no Ed25519 public key beside the private key ${label}`);
};

/** @throws keyUnavailable if it is missing, not unique, or extractable. */
const findPrivate = (session: Session, { id, label }: Named): Handle => {
  const [key, second] = findObjects(session, ofClass(CK.CKO_PRIVATE_KEY, id));
  if (key === undefined) return failKey(`the key ${label} is no longer on the token`);
  if (second !== undefined) return failKey(`the token has more than one private key with the id of ${label}`);
  if (!staysThere(session, key)) return failKey(`the key ${label} could be taken out of the token`);
  return key;
};

const createTokenSigner = ({ token }: Place, named: Named, publicKey: PublicKey): Signer => {
  let found: { readonly login: number; readonly handle: Handle } | undefined;
  const sign: Signer["sign"] = (message) => {
    // Copied before the call returns; referenced until the token is done.
    const input = outside(message);
    return token.use("sign", async (session) => {
      const { library, login } = session;
      if (found?.login !== login) found = { login, handle: findPrivate(session, named) };
      library.C_SignInit(session.session, { mechanism: CK.CKM_EDDSA }, found.handle);
      const signature = Buffer.allocUnsafeSlow(signatureBytes);
      const signed = await library.C_SignAsync(session.session, input, signature);
      return parseSignature(signed.subarray(0, Math.min(signed.length, signatureBytes)));
    });
  };
  return { publicKey, thumbprint: coseKeyThumbprint(publicKey), sign };
};

/** The signer of a key, tested with a signature, so that a mismatched key pair is detected. */
const openKey = async (place: Place, named: Named): Promise<Held> => {
  const publicKey = await place.token.use("show its keys", async (session) => readPublicKey(session, named));
  const signer = createTokenSigner(place, named, publicKey);
  if (!(await verifyOwn(publicKey, probe, await signer.sign(probe)))) {
    failKey(`the private key ${named.label} does not belong to the public key beside it`);
  }
  return { ...named, signer };
};

const makeKey = async ({ token, name }: Place, role: Ed25519Role, serial: number): Promise<Named> => {
  const [label, id] = [`${name}/${role}/${serial}`, randomBytes(idBytes)];
  const names = [
    { type: CK.CKA_LABEL, value: label },
    { type: CK.CKA_ID, value: id },
  ];
  const publicTemplate = [
    { type: CK.CKA_TOKEN, value: true },
    ...ofClass(CK.CKO_PUBLIC_KEY),
    { type: CK.CKA_EC_PARAMS, value: ed25519Parameters },
    { type: CK.CKA_VERIFY, value: true },
    ...names,
  ];
  const privateTemplate = [
    ...kept,
    ...ofClass(CK.CKO_PRIVATE_KEY),
    { type: CK.CKA_SIGN, value: true },
    { type: CK.CKA_DECRYPT, value: false },
    { type: CK.CKA_UNWRAP, value: false },
    ...names,
  ];
  await token.use(
    "make an Ed25519 key (edwards25519 by CKM_EC_EDWARDS_KEY_PAIR_GEN)",
    ({ library, session }) =>
      library.C_GenerateKeyPairAsync(
        session,
        { mechanism: CK.CKM_EC_EDWARDS_KEY_PAIR_GEN },
        publicTemplate,
        privateTemplate,
      ),
  );
  return { role, serial, id, label };
};

export class TokenSigningKeys implements SigningCustody {
  readonly #place: Place;
  #held: readonly Held[] = [];
  /** Serializes creation and destruction of keys. */
  readonly #writing = new Mutex();

  private constructor(place: Place) {
    this.#place = place;
  }

  /**
   * @param uri its `object` is the prefix of the keys' labels.
   * @throws tokenUnavailable, also for a token that cannot do Ed25519; keyUnavailable, invalidConfig, looseMode,
   * notFound.
   */
  static async open(uri: TokenUri, inputs: TokenInputs): Promise<TokenSigningKeys> {
    const token = await Token.open(uri, inputs);
    token.require(mechanisms, "Ed25519");
    const name =
      uri.object ?? fail({ kind: "invalidConfig", key: "custody", rule: "must name the keys, object=LABEL" });
    const keys = new TokenSigningKeys({ token, name });
    await keys.#openKeys();
    return keys;
  }

  newest(role: Ed25519Role): Signer {
    const ofRole = this.#held.filter((key) => key.role === role).sort((a, b) => a.serial - b.serial);
    return ofRole.at(-1)?.signer ?? failKey(`there is no ${role} key`);
  }

  async open(role: Ed25519Role, publicKey: PublicKey): Promise<Signer> {
    const isIt = (key: Held): boolean => key.role === role && equalBytes(key.signer.publicKey, publicKey);
    // Keys were listed before the ledger's lock was taken: its previous holder may have created another since.
    if (!this.#held.some(isIt)) await this.#writing.run(() => this.#openKeys());
    const held = this.#held.find(isIt);
    if (held !== undefined) return held.signer;
    const thumbprint = toBase64Url(coseKeyThumbprint(publicKey));
    return failKey(`the ${role} key ${thumbprint} is not on the token: it is missing`);
  }

  create(role: Ed25519Role): Promise<Signer> {
    return this.#writing.run(async () => {
      await this.#openKeys();
      const serials = this.#held.filter((key) => key.role === role).map(({ serial }) => serial);
      const made = await makeKey(this.#place, role, Math.max(0, ...serials) + 1);
      const held = await openKey(this.#place, made);
      this.#held = [...this.#held, held];
      return held.signer;
    });
  }

  discard(ended: readonly Uint8Array[]): Promise<void> {
    return this.#writing.run(async () => {
      const isEnded = ({ signer }: Held): boolean =>
        ended.some((publicKey) => equalBytes(publicKey, signer.publicKey));
      for (const key of this.#held.filter(isEnded)) {
        await this.#place.token.use("destroy a key", async (session) => {
          // The private half first: a crash between the two leaves a harmless public key.
          for (const keyClass of [CK.CKO_PRIVATE_KEY, CK.CKO_PUBLIC_KEY]) {
            for (const object of findObjects(session, ofClass(keyClass, key.id))) {
              session.library.C_DestroyObject(session.session, object);
            }
          }
        });
        this.#held = this.#held.filter((each) => each !== key);
      }
    });
  }

  /** Opens the keys that are not open yet. */
  async #openKeys(): Promise<void> {
    const { token, name } = this.#place;
    const listed = await token.use("show its keys", async (session) => listKeys(session, name));
    for (const named of listed) {
      if (this.#held.some(({ id }) => id.equals(named.id))) continue;
      this.#held = [...this.#held, await openKey(this.#place, named)];
    }
  }
}
