/**
 * Keys on a real PKCS #11 token: the contracts they keep, and what is said of a token or an object that will not do.
 */
import { expect } from "chai";
import { createSecretKey, randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "mocha";
import type { Attribute, Handle, PKCS11 } from "pkcs11js";
import { createKek, isKekOf, loadKek, parseKekSource, type KekInputs } from "../../src/crypto/kek.ts";
import { describeDeployment, openDeployment } from "../../src/deployment/open.ts";
import { parseCustodySource } from "../../src/crypto/custody.ts";
import { CK } from "../../src/crypto/pkcs11/module.ts";
import { TokenSigningKeys } from "../../src/crypto/pkcs11/token-signing-keys.ts";
import { parseTokenUri } from "../../src/crypto/pkcs11/uri.ts";
import { verifyOwn } from "../../src/core/keys/verify.ts";
import { localKek } from "../../src/crypto/wrapping/wrap.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import type { RecordBody } from "../../src/core/record/record.ts";
import { createDeployment } from "../campaigns/deployment.ts";
import { custodyContract } from "../contract/custody.ts";
import { kekContract } from "../contract/kek.ts";
import { skipWithoutToken, useSoftHsm, type SoftHsm } from "../contract/softhsm.ts";
import { expectFault } from "../unit/keys/expect-fault.ts";

const pin = "pin-of-one-7421";
const pinOfTwo = "pin-of-two-9903";
let hsm: SoftHsm;
let directory: string;

const inputsWith = (given: string | undefined): KekInputs => ({
  env: given === undefined ? {} : { SIGIL_PKCS11_PIN: given },
  modulePath: hsm.library,
  askPassphrase: () => Promise.reject(new Error("nobody asks for a passphrase")),
});
const inputs = (): KekInputs => inputsWith(pin);

const uriOf = (object: string, token = "one") => `pkcs11:token=${token};object=${object}`;
const openKek = async (object: string) => (await createKek(parseKekSource(uriOf(object)), inputs())).kek;
const openSigning = (object: string) =>
  TokenSigningKeys.open(parseTokenUri(uriOf(object), "custody"), inputs());

let serial = 0;
const newName = (): string => `object-${(serial += 1)}`;

/** Somebody else's session with the token, to put things on it and to disturb it. */
const stranger = (token = "one") => {
  const { PKCS11: Library } = createRequire(import.meta.url)("pkcs11js") as {
    readonly PKCS11: new () => PKCS11;
  };
  const other = new Library();
  other.load(hsm.library);
  const slot = other.C_GetSlotList(true).find((each) => other.C_GetTokenInfo(each).label.startsWith(token));
  if (slot === undefined) throw new Error(`token ${token} is gone`);
  const session = other.C_OpenSession(slot, CK.CKF_SERIAL_SESSION | CK.CKF_RW_SESSION);
  return {
    other,
    slot,
    session,
    put: (label: string, attributes: readonly Attribute[]): Handle =>
      other.C_CreateObject(session, [
        { type: CK.CKA_TOKEN, value: true },
        { type: CK.CKA_LABEL, value: label },
        ...attributes,
      ]),
    close: () => other.C_CloseSession(session),
  };
};

const aes = (
  value: Uint8Array,
  changes: readonly { readonly type: number; readonly value: number | boolean }[] = [],
): readonly Attribute[] => {
  const usual = new Map<number, number | boolean | Buffer>([
    [CK.CKA_CLASS, CK.CKO_SECRET_KEY],
    [CK.CKA_KEY_TYPE, CK.CKK_AES],
    [CK.CKA_PRIVATE, true],
    [CK.CKA_SENSITIVE, true],
    [CK.CKA_EXTRACTABLE, false],
    [CK.CKA_ENCRYPT, true],
    [CK.CKA_DECRYPT, true],
    [0x11, Buffer.from(value)],
  ]);
  for (const { type, value: changed } of changes) usual.set(type, changed);
  return [...usual].map(([type, each]) => ({ type, value: each }));
};

describe("a PKCS #11 token", () => {
  before(async function () {
    skipWithoutToken(this);
    hsm = await useSoftHsm({ tokens: { one: pin, two: pinOfTwo } });
    directory = await mkdtemp(join(tmpdir(), "sigil-token-"));
  });
  after(async () => {
    await hsm?.remove();
    if (directory !== undefined) await rm(directory, { recursive: true });
  });

  custodyContract("a PKCS #11 token", async () => {
    const name = newName();
    return { open: () => openSigning(name), remove: () => Promise.resolve() };
  });

  kekContract("on a PKCS #11 token", async () => ({
    kek: await openKek(newName()),
    other: await openKek(newName()),
    remove: () => Promise.resolve(),
  }));

  it("wraps as the process itself does: one opens what the other wrapped", async () => {
    const [name, key] = [newName(), randomBytes(32)];
    await openKek("login");
    const { put, close } = stranger();
    put(name, aes(key));
    close();
    const [there, here] = [await openKek(name), localKek(createSecretKey(key))];
    const secret = Uint8Array.from(randomBytes(48));
    expect(await here.unwrap("x", await there.wrap("x", secret))).to.deep.equal(secret);
    expect(await there.unwrap("x", await here.wrap("x", secret))).to.deep.equal(secret);
  });

  it("makes the AES key where there is none, finds it again, and tells it from another", async () => {
    const [name, other] = [newName(), newName()];
    const first = await createKek(parseKekSource(uriOf(name)), inputs());
    const again = await createKek(parseKekSource(uriOf(name)), inputs());
    expect([first.made, again.made]).to.deep.equal([true, false]);
    expect(await isKekOf(again.kek, first.reference)).to.equal(true);
    expect(await isKekOf(await openKek(other), first.reference)).to.equal(false);
    const { error } = await expectFault(() =>
      loadKek({ ...first.reference, source: uriOf(other) }, inputs()),
    );
    expect(error).to.deep.equal({ kind: "wrongKeyEncryptionKey", source: uriOf(other) });
  });

  it("never gives a key out: none that it makes can be read or wrapped", async () => {
    const name = newName();
    await openKek(`${name}-kek`);
    await (await openSigning(name)).create("record");
    const { other, session, close } = stranger();
    const wrapping = other.C_GenerateKey(session, { mechanism: CK.CKM_AES_KEY_GEN }, [
      { type: CK.CKA_VALUE_LEN, value: 32 },
      { type: CK.CKA_WRAP, value: true },
    ]);
    for (const label of [`${name}-kek`, `${name}/record/1`]) {
      other.C_FindObjectsInit(session, [
        { type: CK.CKA_LABEL, value: label },
        { type: CK.CKA_PRIVATE, value: true },
      ]);
      const [key] = other.C_FindObjects(session, 1);
      other.C_FindObjectsFinal(session);
      expect(key, label).to.be.instanceOf(Buffer);
      expect(() => other.C_GetAttributeValue(session, key as Handle, [{ type: 0x11 }])).to.throw("SENSITIVE");
      expect(() =>
        other.C_WrapKey(session, { mechanism: 0x210a }, wrapping, key as Handle, Buffer.alloc(512)),
      ).to.throw("KEY_UNEXTRACTABLE");
    }
    close();
  });

  const refusals: readonly (readonly [what: string, uri: string, given: string | undefined, says: RegExp])[] =
    [
      ["a wrong PIN", uriOf("login"), "5550123", /^PKCS #11 token token=one: the PIN is wrong$/],
      ["an empty PIN", uriOf("login", "two"), "", /needs its PIN: set SIGIL_PKCS11_PIN, or say pin-source=/],
      ["no PIN", uriOf("login", "two"), undefined, /needs its PIN: set SIGIL_PKCS11_PIN, or say pin-source=/],
      ["another token's PIN", uriOf("login", "two"), pin, /^PKCS #11 token token=two: the PIN is wrong$/],
      [
        "a token that is not there",
        uriOf("login", "three"),
        pin,
        /there is no such token; there is ("one", "two"|"two", "one")$/,
      ],
      [
        "a token's serial that is another's",
        "pkcs11:token=one;serial=7;object=login",
        pin,
        /there is no such token/,
      ],
      [
        "a missing object",
        uriOf("nothing"),
        pin,
        /^PKCS #11 token token=one: there is no object "nothing" on it$/,
      ],
      [
        "a private key",
        uriOf("ed/record/1"),
        pin,
        /is a (private|public) key; it must be an AES key of 32 bytes/,
      ],
      [
        "a short AES key",
        uriOf("aes-128"),
        pin,
        /is an AES key of 16 bytes; it must be an AES key of 32 bytes/,
      ],
      ["a secret key of another type", uriOf("generic"), pin, /is a secret key that is not AES; it must be/],
      ["no key at all", uriOf("data"), pin, /is no key; it must be an AES key of 32 bytes/],
      [
        "a key that could be taken out",
        uriOf("loose"),
        pin,
        /could be taken out of the token; it must be sensitive/,
      ],
      ["a key that may not decrypt", uriOf("encrypts"), pin, /may not encrypt and decrypt; it needs/],
      ["two keys of one name", uriOf("twice"), pin, /there is more than one secret key "twice" on it/],
    ];
  it("that is wrong in any way as a key-encryption key is refused, each with its own sentence", async () => {
    await openKek("login");
    await (await openSigning("ed")).create("record");
    const { put, close } = stranger();
    const key = randomBytes(32);
    put("aes-128", aes(key.subarray(16)));
    put("generic", aes(key, [{ type: CK.CKA_KEY_TYPE, value: 0x10 }]));
    put("data", [{ type: CK.CKA_CLASS, value: 0 }]);
    put("loose", aes(key, [{ type: CK.CKA_EXTRACTABLE, value: true }]));
    put("encrypts", aes(key, [{ type: CK.CKA_DECRYPT, value: false }]));
    for (const _ of [1, 2]) put("twice", aes(key));
    close();
    const { reference } = await createKek(parseKekSource(uriOf("login")), inputs());
    for (const [what, source, given, says] of refusals) {
      const fault = await expectFault(() => loadKek({ ...reference, source }, inputsWith(given)));
      expect(fault.error.kind, what).to.equal("tokenUnavailable");
      expect(fault.message, what).to.match(says);
      // The causes go to the log.
      if (given !== undefined && given !== "") {
        expect(`${fault.stack}${String((fault.cause as Error | undefined)?.stack)}`, what).to.not.include(
          given,
        );
      }
    }
  });

  it("takes its PIN from a file that others may not read, before the environment", async () => {
    const path = join(directory, "pin");
    await writeFile(path, `${pin}\n`, { mode: 0o600 });
    const source = `${uriOf(newName())}?pin-source=file:${path}`;
    expect((await createKek(parseKekSource(source), inputsWith("wrong"))).made).to.equal(true);
    await chmod(path, 0o644);
    expect((await expectFault(() => createKek(parseKekSource(source), inputs()))).error.kind).to.equal(
      "looseMode",
    );
    await rm(path);
    expect((await expectFault(() => createKek(parseKekSource(source), inputs()))).error.kind).to.equal(
      "notFound",
    );
  });

  it("needs a library that is one", async () => {
    const cases = [
      [undefined, "say which library speaks with it"],
      ["/nowhere/lib.so", "the library /nowhere/lib.so cannot be loaded"],
      ["/etc/hostname", "the library /etc/hostname cannot be loaded"],
    ] as const;
    for (const [modulePath, says] of cases) {
      const fault = await expectFault(() =>
        createKek(parseKekSource(uriOf("x")), { ...inputs(), modulePath }),
      );
      expect(fault.message).to.contain(says);
    }
  });

  it("that is away records nothing and allows nothing, and when it is back serving goes on", async () => {
    const root = join(directory, "away");
    const data = join(root, "data");
    const env: Record<string, string> = { SIGIL_PKCS11_PIN: pinOfTwo };
    const kekInputs = { ...inputs(), env };
    const faults: string[] = [];
    await mkdir(root, { mode: 0o700 });
    const custody = parseCustodySource(uriOf("away", "two"));
    await createDeployment(root, { custody, kekSource: parseKekSource(uriOf("away-kek", "two")), kekInputs });
    const ledger = await openDeployment({
      directory: data,
      kekInputs,
      nowMs: Date.now,
      observe: { onFault: (cause) => void faults.push(String(cause)) },
    });
    const body = (id: string): RecordBody => ({
      kind: "user_data",
      schemaVersion: 1,
      id,
      tenant: "acme",
      ts: 1,
      space: "user",
      payload: { id },
      links: [],
      prev: null,
    });
    await ledger.append([body("before")]);
    const { size } = ledger.reader;
    const { other, session } = stranger("two");
    delete env["SIGIL_PKCS11_PIN"];
    other.C_Logout(session);
    const refused = await Promise.allSettled(["a", "b"].map((id) => ledger.append([body(id)])));
    expect(refused.map(({ status }) => status)).to.deep.equal(["rejected", "rejected"]);
    expect(ledger.reader.size).to.equal(size);
    expect(faults.join("\n")).to.contain("nobody is there to type the PIN").and.not.contain(pinOfTwo);
    env["SIGIL_PKCS11_PIN"] = pinOfTwo;
    for (;;) {
      const done = await ledger.append([body("after")]).then(
        () => true,
        () => false,
      );
      if (done) break;
    }
    await ledger.close();
    const report = await runFsck(await describeDeployment({ directory: data, kekInputs, nowMs: Date.now }));
    expect([report.problems, report.size]).to.deep.equal([[], size + 1n]);
  });

  it("whose session is lost is opened again, and everybody who waits gets an answer", async () => {
    const name = newName();
    const custody = await openSigning(name);
    const signer = await custody.create("record");
    const kek = await openKek(`${name}-kek`);
    const wrapped = await kek.wrap("x", Uint8Array.of(7));
    const message = Uint8Array.of(1);
    const disturbances = [
      () => {
        const { other, slot } = stranger();
        other.C_CloseAllSessions(slot);
      },
      () => {
        const { other, session } = stranger();
        other.C_Logout(session);
      },
    ];
    for (const disturb of disturbances) {
      disturb();
      const signatures = await Promise.all(Array.from({ length: 20 }, () => signer.sign(message)));
      for (const signature of signatures) {
        expect(await verifyOwn(signer.publicKey, message, signature)).to.equal(true);
      }
      disturb();
      expect(await kek.unwrap("x", wrapped)).to.deep.equal(Uint8Array.of(7));
      disturb();
      await custody.create("checkpoint");
    }
  });
});
