/**
 * URIs of keys on a token: what they may say, that they come back as they were, and that no PIN gets in or out; and the
 * PIN.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { parseCustodySource, formatCustodySource } from "../../../src/crypto/custody.ts";
import { formatKekSource, parseKekSource } from "../../../src/crypto/kek.ts";
import { readStoredPin } from "../../../src/crypto/pkcs11/pin.ts";
import { formatTokenUri, parseTokenUri, type TokenUri } from "../../../src/crypto/pkcs11/uri.ts";
import { expectFault } from "./expect-fault.ts";

describe("a token's URI", () => {
  it("is read and written as RFC 7512 has it", () => {
    const cases: readonly (readonly [string, TokenUri])[] = [
      ["pkcs11:token=sigil;object=kek", { token: "sigil", object: "kek" }],
      [
        "pkcs11:token=My%20Token;serial=01ab;object=a%3Bb",
        { token: "My Token", serial: "01ab", object: "a;b" },
      ],
      [
        "pkcs11:manufacturer=SoftHSM%20project;model=v2;object=%C3%B6",
        { manufacturer: "SoftHSM project", model: "v2", object: "ö" },
      ],
      [
        "pkcs11:token=t;object=k?module-path=/usr/lib/a.so&pin-source=file:/etc/sigil/pin",
        { token: "t", object: "k", modulePath: "/usr/lib/a.so", pinSource: "/etc/sigil/pin" },
      ],
    ];
    for (const [text, uri] of cases) {
      expect(parseTokenUri(text, "kek")).to.deep.equal(uri);
      expect(formatTokenUri(uri)).to.equal(text);
      expect(formatKekSource(parseKekSource(text))).to.equal(text);
      expect(formatCustodySource(parseCustodySource(text))).to.equal(text);
    }
    expect(parseTokenUri("pkcs11:object=k;token=t?pin-source=/etc/pin", "kek").pinSource).to.equal(
      "/etc/pin",
    );
    expect(formatCustodySource(parseCustodySource("pkcs11:token=t"))).to.equal("pkcs11:token=t");
    expect(formatCustodySource(parseCustodySource("file"))).to.equal("file");
  });

  it("comes back whole whatever the names are", () => {
    const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 });
    const path = name.map((text) => `/${text}`);
    fc.assert(
      fc.property(name, name, name, path, path, (token, serial, object, modulePath, pinSource) => {
        const uri = { token, serial, object, modulePath, pinSource };
        expect(parseTokenUri(formatTokenUri(uri), "kek")).to.deep.equal(uri);
      }),
    );
  });

  it("is refused with a rule, and repeats nothing of what was given", async () => {
    const secret = "canary-4711";
    const cases = [
      [`pkcs11:token=t;object=k?pin-value=${secret}`, "must not hold the PIN"],
      [`pkcs11:token=t;object=k;pin-value=${secret}`, "must not hold the PIN"],
      [`pkcs11:token=t;object=k?${secret}`, "must be NAME=VALUE"],
      [`pkcs11:token=t;object=k?pin=${secret}`, "takes module-path, pin-source"],
      [`pkcs11:token=t;object=k?pin-source=|cat ${secret}`, "needs an absolute path as pin-source"],
      [`pkcs11:token=t;object=k?module-path=${secret}.so`, "needs an absolute path as module-path"],
      [`pkcs11:token=t;object=k;slot-id=${secret}`, "not slot-id"],
      [`pkcs11:token=${secret};token=t;object=k`, "says token twice"],
      [`pkcs11:token=t;object=%${secret}`, "not percent-encoded"],
      ["pkcs11:token=;object=k", "has an empty token"],
      ["pkcs11:object=k", "must name the token"],
      ["pkcs11:", "must name the token"],
      ["pkcs11:token=t", "must name the key"],
      ["pkcs11:token=t;object=k?module-path=/a?module-path=/b", 'at most one "?"'],
    ] as const;
    for (const [text, rule] of cases) {
      const fault = await expectFault(() => parseKekSource(text));
      expect(fault.error).to.include({ kind: "invalidConfig", key: "kek" });
      expect(fault.message).to.contain(rule).and.not.contain(secret);
    }
    for (const text of ["", "files", "file:x", "pkcs11", "passphrase"]) {
      const { error } = await expectFault(() => parseCustodySource(text));
      expect(error).to.deep.equal({
        kind: "invalidConfig",
        key: "custody",
        rule: "must be file or pkcs11:URI",
      });
    }
  });
});

describe("a token's PIN", () => {
  it("is the first line of its file, whatever ends the line, and never empty", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-pin-"));
    try {
      const pinSource = join(directory, "pin");
      const read = async (content: string) => {
        await writeFile(pinSource, content, { mode: 0o600 });
        const pin = await readStoredPin({ token: "t", pinSource }, { env: { SIGIL_PKCS11_PIN: "another" } });
        return new TextDecoder().decode(pin);
      };
      for (const end of ["", "\n", "\r\n", "\r", "\n\n", "\nanother"]) {
        expect(await read(`1 2é${end}`), JSON.stringify(end)).to.equal("1 2é");
      }
      for (const empty of ["", "\n", "\r\n1234"]) {
        const { error } = await expectFault(() => read(empty));
        expect(error).to.include({ kind: "tokenUnavailable", rule: "the PIN must not be empty" });
      }
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
