/** What a proxy says of a request that it holds, as a check: one reading, or none. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { SigilFault } from "../../../src/errors.ts";
import { readForwarded } from "../../../src/gateway/http/forward.ts";

type Said = Readonly<Record<string, string | readonly string[]>>;

const nginx = {
  "X-Original-Method": "GET",
  "X-Forwarded-Host": "Shop.Example",
  "X-Original-URI": "/a/b?c=/../d",
};

const raw = (said: Said): readonly string[] =>
  Object.entries(said).flatMap(([name, values]) => [values].flat().flatMap((value) => [name, value]));

const refusedField = (said: Said): string => {
  try {
    readForwarded(raw(said));
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "invalidField") return error.error.field;
    throw error;
  }
  throw new Error("it was read");
};

describe("a forwarded request", () => {
  it("is one action and one target, by the headers of either kind of proxy", () => {
    const read = { action: "http.get", target: "http/shop.example/a/b" };
    expect(readForwarded(raw(nginx))).to.deep.equal(read);
    const traefik = {
      "x-forwarded-method": "GET",
      "x-forwarded-host": "shop.example",
      "x-forwarded-uri": "/a/b/",
    };
    expect(readForwarded(raw(traefik))).to.deep.equal(read);
    expect(
      readForwarded(
        raw({ ...nginx, ...traefik, "X-Forwarded-Host": "shop.example", "x-forwarded-uri": "/a/b?c=/../d" }),
      ),
    ).to.deep.equal(read);
    expect(readForwarded(raw({ ...nginx, "X-Original-URI": "/" })).target).to.equal("http/shop.example");
    expect(readForwarded(raw({ ...nginx, "X-Original-URI": "/%C3%A9%20x" })).target).to.equal(
      "http/shop.example/é x",
    );
  });

  it("is refused for a path that two programs might read in two ways", () => {
    const paths =
      "// /a//b /./a /a/../b /%2e%2e/b /a/%2E /a%2fb /a%2Fb /a;b /a%3bb /a\\b /a%5Cb /% /%zz /%ff";
    for (const path of [...paths.split(" "), "", "a", "http://x/", "*"])
      expect(refusedField({ ...nginx, "X-Original-URI": path }), path).to.equal(
        "x-original-uri or x-forwarded-uri",
      );
  });

  it("is refused without a header, and with two that differ", () => {
    for (const name of Object.keys(nginx)) {
      const field = refusedField({ ...nginx, [name]: "" });
      expect(field.toLowerCase()).to.include(name.toLowerCase());
      expect(refusedField({ ...nginx, [name]: ["/x", "/y"] })).to.equal(field);
    }
    expect(refusedField({ ...nginx, "X-Forwarded-Uri": "/other" })).to.include("x-forwarded-uri");
    expect(refusedField({ ...nginx, "X-Forwarded-Method": "DELETE" })).to.include("x-forwarded-method");
    for (const method of ["get", "GET ", "G/T", "G.T", "A".repeat(33)])
      expect(refusedField({ ...nginx, "X-Original-Method": method }), method).to.include("x-original-method");
    for (const host of ["a/b", "a b", "a,b", "-", "..", "[::1", "a:b", "a@b"])
      expect(refusedField({ ...nginx, "X-Forwarded-Host": host }), host).to.equal("x-forwarded-host");
  });
});
