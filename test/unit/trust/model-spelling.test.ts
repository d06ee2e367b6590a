/** Globs of models: one spelling where they are proposed, and one reading of models that were recorded before. */
import { expect } from "chai";
import { describe, it } from "mocha";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";
import { SigilFault } from "../../../src/errors.ts";
import { parseHash } from "../../../src/core/bytes.ts";
import type { FrozenChainPayload } from "../../../src/core/record/kinds/frozen-chain.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import { lookUpFeatures } from "../../../src/core/model/features.ts";
import { evaluate, parseModel } from "../../../src/core/model/model.ts";
import { canonicalModel, withCanonicalGlobs } from "../../../src/core/model/model-spelling.ts";
import { recompute } from "../../../src/core/model/recompute.ts";

const modelOf = (actions: CborMap, targets: CborMap): CborMap => ({
  ...defaultModelPayload,
  actions,
  targets,
});
const row = (risk: number, level: string): CborMap => ({ risk, min_loa: level });

const faultOf = (payload: CborMap): { readonly field: string; readonly rule: string } => {
  try {
    canonicalModel(payload);
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "malformedModel") return error.error;
    throw error;
  }
  return { field: "", rule: "" };
};

describe("the globs of a proposed model", () => {
  it("are those of the default model already", () => {
    expect(canonicalModel(defaultModelPayload)).to.deep.equal(defaultModelPayload);
    expect(withCanonicalGlobs(defaultModelPayload)).to.equal(defaultModelPayload);
  });

  it("become their canonical form", () => {
    const payload = modelOf(
      { "/tool.*/": row(0.1, "guest") },
      { "/api//**": 0.2, "re\u0301%73ume\u0301": 0.3 },
    );
    expect(canonicalModel(payload)).to.deep.equal(
      modelOf({ "tool.*": row(0.1, "guest") }, { "api/**": 0.2, résumé: 0.3 }),
    );
  });

  it("are refused by name when two are one, or one is none", () => {
    expect(faultOf(modelOf({}, { "api/**": 0.2, "/api/**": 0.9 }))).to.deep.include({
      field: 'targets["/api/**"]',
      rule: 'is another spelling of "api/**"',
    });
    expect(faultOf(modelOf({}, { "a?b": 0.2 })).field).to.equal('targets["a?b"]');
    expect(faultOf(modelOf({ "tool{}": row(0, "guest") }, {})).field).to.equal('actions["tool{}"]');
  });

  it("keep a glob by the name of a property of objects", () => {
    const { targets } = canonicalModel(modelOf({}, JSON.parse('{"/__proto__": 0.5}') as CborMap)) as {
      targets: CborMap;
    };
    expect(Object.entries(targets)).to.deep.equal([["__proto__", 0.5]]);
  });
});

const recorded = (
  payload: CborMap,
  decidedBy: CborMap,
  action: string,
  target: string,
): FrozenChainPayload => {
  const model = parseModel(decidedBy);
  const features = lookUpFeatures(model, { action, target, level: "operator" }, { rate: 0, entropy: 0 });
  const { verdict, z, score, contributions } = evaluate(model, features);
  const hash = parseHash(new Uint8Array(32));
  return {
    request: {
      action,
      target,
      subject: "ann",
      caller: "ann",
      tenant: "acme",
      loa: "operator",
      session: "",
      inputDigest: hash,
      inputBytes: 0,
      input: null,
      metadata: {},
    },
    features: features.values,
    model: { id: "trust_model/active", hash },
    contributions,
    z,
    score,
    threshold: payload["threshold"] as number,
    review: payload["review"] as { low: number; high: number },
    verdict: verdict.kind,
    reason: verdict.reason,
    steps: [],
    durationUs: 1,
  };
};

describe("a model that was recorded before globs had one spelling", () => {
  const old = modelOf(
    { write: row(0.3, "observer"), "/write": row(0.6, "operator"), "a?b": row(0, "guest") },
    { "**": 0, "/admin/**": 0.9, "admin//**": 0.4, "%*": 0 },
  );

  it("decides by the canonical forms, the stricter row where two coincide", () => {
    expect(withCanonicalGlobs(old)).to.deep.equal(
      modelOf({ write: row(0.6, "operator") }, { "**": 0, "admin/**": 0.9 }),
    );
  });

  it("never lets a name slip past a glob that was written with its slash", () => {
    const since = parseModel(withCanonicalGlobs(old));
    expect(since.targets.find("admin/keys")?.value).to.equal(0.9);
    expect(parseModel(old).targets.find("admin/keys")?.value, "by its text").to.equal(0);
  });

  for (const target of ["/admin/keys", "admin//keys", "public/x"]) {
    it(`recomputes what it decided about ${target} then`, () => {
      expect(recompute(recorded(old, old, "write", target), old).kind).to.equal("match");
    });
  }

  it("recomputes what it decided since", () => {
    const since = withCanonicalGlobs(old) as CborMap;
    expect(recompute(recorded(old, since, "write", "admin/keys"), old).kind).to.equal("match");
  });

  it("recomputes nothing that neither reading gives", () => {
    const other = modelOf({ write: row(0.2, "guest") }, { "**": 0.5 });
    expect(recompute(recorded(old, other, "write", "admin/keys"), old).kind).to.equal("differs");
  });
});
