/**
 * Every column against the record's own payload, by a table of paths that knows nothing of how rows are made: a column
 * that says something else than its record, or that no path checks, is found.
 */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { cborDecode, type CborValue } from "../../../src/core/cbor/cbor.ts";
import { jsonView } from "../../../src/core/cbor/json-view.ts";
import { decodeEnvelope } from "../../../src/core/record/record.ts";
import { parseStatement } from "../../../src/core/cose/cose.ts";
import { rowsOf, type Rows } from "../../../src/projections/rows.ts";
import { appendedTables, type AppendedTable, type Row } from "../../../src/projections/tables.ts";
import { generateLedger, type GoldenLedger } from "../../contract/golden-ledger.ts";

type Decoded = Readonly<Record<string, CborValue>>;
/** A path into the decoded body, or what it comes to. */
type Expectation = string | ((body: Decoded, place: GoldenLedger["places"][number]) => unknown);

const at = (value: CborValue | undefined, path: string): CborValue | undefined =>
  path.split(".").reduce<CborValue | undefined>((found, name) => (found as Decoded | null)?.[name], value);

const json = (path: string) => (body: Decoded) => JSON.stringify(jsonView(at(body, path) ?? null));

const features = ["action_risk", "target_sensitivity", "level", "rate", "entropy"];
const perFeature = (prefix: string, map: string): Readonly<Record<string, Expectation>> =>
  Object.fromEntries(features.map((name) => [`${prefix}_${name}`, `payload.${map}.${name}`]));
const others = (map: string) => (body: Decoded) => {
  const found = Object.entries(at(body, `payload.${map}`) ?? {}).filter(([name]) => !features.includes(name));
  return found.length === 0 ? null : JSON.stringify(Object.fromEntries(found));
};
const under = (prefix: string, names: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(names).map(([column, path]) => [column, `${prefix}.${path}`]));
const same = (...names: readonly string[]) => Object.fromEntries(names.map((name) => [name, name]));

const named = { ...same("tenant", "id"), at: "ts" };
/** The body that a proposal is about. */
const candidate = (path: string) => (body: Decoded) =>
  at(cborDecode(at(body, "payload.body") as Uint8Array), path);

/** Whether a record of a kind with two versions is of the first. */
const isFirst = (body: Decoded): boolean => at(body, "schema_version") === 1;
const textAt = (body: Decoded, path: string): string => at(body, path) as string;
const linkOf = (body: Decoded, label: string): unknown =>
  (at(body, "links") as readonly { readonly label: string; readonly target: unknown }[]).find(
    (link) => link.label === label,
  )?.target ?? null;

const tables: Readonly<
  Record<Exclude<AppendedTable, "record_versions" | "links">, Readonly<Record<string, Expectation>>>
> = {
  decisions: {
    ...named,
    ...under("payload.request", {
      ...same("action", "target", "subject", "caller", "input_digest", "input_bytes"),
      level: "loa",
      min_level: "min_loa",
    }),
    session: (body) => at(body, "payload.request.session") ?? "",
    input_kept: (body) => (isFirst(body) ? at(body, "payload.request.input") !== null : null),
    metadata: json("payload.request.metadata"),
    model_id: (body) => at(body, isFirst(body) ? "payload.model.id" : "payload.model"),
    model_hash: (body) => (isFirst(body) ? at(body, "payload.model.hash") : linkOf(body, "model")),
    ...perFeature("feature", "features"),
    other_features: others("features"),
    ...perFeature("contribution", "contributions"),
    other_contributions: others("contributions"),
    ...under("payload", {
      ...same("z", "threshold", "verdict", "reason", "duration_us", "caller_seq"),
      review_low: "review.low",
      review_high: "review.high",
    }),
    score: (body) => {
      const z = at(body, "payload.z") as number | undefined;
      return isFirst(body) ? at(body, "payload.score") : z === undefined ? null : 1 / (1 + Math.exp(-z));
    },
    steps: (body) =>
      isFirst(body)
        ? json("payload.steps")(body)
        : JSON.stringify([
            { name: "identity", detail: `subject is a ${textAt(body, "payload.request.loa")}` },
            {
              name: "verdict",
              detail: `${textAt(body, "payload.verdict")}: ${textAt(body, "payload.reason")}`,
            },
          ]),
  },
  proposals: {
    ...named,
    hash: (_, { hash }) => hash,
    for_kind: candidate("kind"),
    for_tenant: candidate("tenant"),
    for_space: candidate("space"),
    for_id: candidate("id"),
    bodies: (body) => 1 + (at(body, "payload.with") as readonly unknown[]).length,
    ...under("payload", {
      ...same("base", "epoch", "proposer", "reason", "commit"),
      expires_at: "expires_ts",
    }),
  },
  proposal_endings: { ...named, ...under("payload", same("proposal", "outcome", "reason")) },
  attestations: { ...named, ...under("payload", same("proposal", "witness", "role", "statement")) },
  module_runs: {
    ...named,
    ...under("payload", {
      ...same("module", "version", "digest", "other_digest", "caller", "input_digest", "input_bytes"),
      ...same("output_digest", "exit_code", "reason"),
      ended: "end",
      ...Object.fromEntries(
        ["wall_ms", "memory_pages", "output_bytes", "log_bytes", "input_bytes", "host_calls"].map((name) => [
          `limit_${name}`,
          `limits.${name}`,
        ]),
      ),
      ...Object.fromEntries(
        ["wall_us", "cpu_us", "memory_bytes_peak", "output_bytes", "log_bytes", "host_calls"].map((name) => [
          name,
          `usage.${name}`,
        ]),
      ),
      read_bytes: "usage.input_bytes",
    }),
  },
};

const kinds: Readonly<Record<string, keyof typeof tables>> = {
  frozen_chain: "decisions",
  proposal: "proposals",
  proposal_ending: "proposal_endings",
  attestation: "attestations",
  module_run: "module_runs",
};

const replaced = (value: unknown): unknown =>
  typeof value === "string" ? value.replaceAll("\0", "␀").replaceAll("\\u0000", "␀") : value;

describe("the rows of a record", () => {
  let ledger: GoldenLedger;
  let rows: Rows;
  let bodies: readonly Decoded[];

  before(async () => {
    ledger = await generateLedger({ seed: 3, count: 600 });
    bodies = ledger.places.map(
      ({ envelope }) => cborDecode(parseStatement(decodeEnvelope(envelope).statement).payload) as Decoded,
    );
    const places = ledger.places.map(({ leaf, envelope, hash, body }, index) => ({
      position: BigInt(index),
      leaf,
      record: { envelope, hash, body },
    }));
    rows = rowsOf(places);
  });

  const placed = (row: Row) => {
    const position = Number(row["position"]);
    const [body, place] = [bodies[position], ledger.places[position]];
    return body === undefined || place === undefined
      ? expect.fail("a row of no record")
      : { body, place, position };
  };

  for (const [name, expected] of Object.entries(tables)) {
    it(`are what it says, in every column of ${name}`, () => {
      const table = name as keyof typeof tables;
      const columns = Object.keys(appendedTables[table].columns).filter((column) => column !== "position");
      expect(Object.keys(expected).sort((a, b) => (a < b ? -1 : 1))).to.deep.equal(
        columns.sort((a, b) => (a < b ? -1 : 1)),
      );
      for (const row of rows[table]) {
        const { body, place, position } = placed(row);
        for (const [column, path] of Object.entries(expected)) {
          const value = (typeof path === "string" ? at(body, path) : path(body, place)) ?? null;
          expect(row[column], `${table}.${column} at ${position}`).to.deep.equal(replaced(value));
        }
      }
      const ofKind = bodies.filter(({ kind }) => kinds[kind as string] === table).length;
      expect(rows[table].length).to.equal(ofKind);
      expect(ofKind).to.be.greaterThan(0);
    });
  }

  it("are one version each, with its links in their order", () => {
    expect(rows.record_versions.length).to.equal(ledger.places.length);
    for (const row of rows.record_versions) {
      const { body, place } = placed(row);
      const { kind, tenant, space, id, prev } = body;
      expect(row).to.deep.include({ kind: replaced(kind), tenant, space, id, prev, at: body["ts"] });
      expect(row).to.deep.include({
        hash: place.hash,
        leaf: place.leaf,
        envelope: place.envelope,
        erased: false,
      });
      expect(row["schema_version"]).to.equal(body["schema_version"]);
      const text = JSON.stringify(jsonView([kind ?? null, body["payload"] ?? null, body["links"] ?? null]));
      // A backslash before "u0000" is written as two.
      expect(row["nul_replaced"]).to.equal(/(?<!\\)\\u0000/.test(text));
    }
    const expected = bodies.flatMap((body, position) =>
      (body["links"] as readonly Decoded[]).map(({ label, target }, index) => ({
        position: BigInt(position),
        index,
        tenant: body["tenant"],
        label: replaced(label),
        target,
      })),
    );
    expect(rows.links).to.deep.equal(expected);
  });
});
